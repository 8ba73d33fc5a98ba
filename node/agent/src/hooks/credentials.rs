//! Who the pod is at a registry: its `imagePullSecrets`, which its service account's became when it was created.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mizzen_images::Credentials;
use mizzen_reconcile::typed;
use serde::Deserialize;

use crate::pulled::PullSecret;
use crate::shared::Shared;

const CONFIG_JSON: &str = ".dockerconfigjson";

/// A name and password, and the secret they are from.
pub(crate) struct Login {
    pub(crate) credentials: Credentials,
    pub(crate) secret: PullSecret,
}

/// The logins for an image's registry, in the order in which they are to be tried; none is anonymous.
pub(crate) async fn find(shared: &Shared, pod: &Pod, reference: &str) -> Vec<Login> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let names = spec.image_pull_secrets.iter().flatten().map(|secret| secret.name.clone());
    let mut found = Vec::new();
    for name in names {
        match typed::get::<Secret>(shared.client.as_ref(), namespace, &name).await {
            Ok(Some(secret)) => {
                let config = secret.data.as_ref().and_then(|data| data.get(CONFIG_JSON));
                let entry = config.and_then(|config| lookup(&config.0, reference));
                found.extend(entry.map(|entry| entry.login(&secret.metadata)));
            }
            Ok(None) => tracing::debug!(namespace, name, "an image pull secret does not exist"),
            Err(error) => tracing::warn!(namespace, name, %error, "image pull secret not read"),
        }
    }
    found
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
}

/// A name and password of a registry.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    username: String,
    password: String,
}

impl Found {
    fn login(self, secret: &ObjectMeta) -> Login {
        let of = |field: &Option<String>| field.clone().unwrap_or_default();
        // A zero byte is in neither, so that no two pairs are one text.
        let hash = mizzen_images::sha256(format!("{}\0{}", self.username, self.password).as_bytes());
        let secret = PullSecret { uid: of(&secret.uid), namespace: of(&secret.namespace), name: of(&secret.name), hash };
        Login { credentials: Credentials::Basic { username: self.username, password: self.password }, secret }
    }
}

/// The entry of a `.dockerconfigjson` whose key is the longest that covers the image.
fn lookup(config: &[u8], reference: &str) -> Option<Found> {
    let config: DockerConfig = serde_json::from_slice(config).ok()?;
    let covers = |key: &&String| {
        let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
        let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
        let key = if key == "index.docker.io" { "docker.io" } else { key };
        reference.strip_prefix(key).is_some_and(|rest| rest.starts_with('/') || rest.starts_with(':') || rest.starts_with('@'))
    };
    let key = config.auths.keys().filter(covers).max_by_key(|key| key.len())?;
    let entry = config.auths.get(key)?;
    if !entry.username.is_empty() {
        return Some(Found { username: entry.username.clone(), password: entry.password.clone() });
    }
    let decoded = String::from_utf8(STANDARD.decode(&entry.auth).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(Found { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn basic(username: &str, password: &str) -> Option<Found> {
        Some(Found { username: username.into(), password: password.into() })
    }

    #[test]
    fn the_longest_key_that_covers_the_image_wins() {
        let config = json!({"auths": {
            "127.0.0.1:5000": {"username": "a", "password": "1"},
            "127.0.0.1:5000/team": {"auth": STANDARD.encode("b:2:3")},
            "https://index.docker.io/v1/": {"username": "c", "password": "3"},
        }})
        .to_string();
        let find = |reference: &str| lookup(config.as_bytes(), reference);
        assert_eq!(find("127.0.0.1:5000/app:1"), basic("a", "1"));
        assert_eq!(find("127.0.0.1:5000/team/app:1"), basic("b", "2:3"));
        assert_eq!(find("127.0.0.1:5000/teams/app:1"), basic("a", "1"));
        assert_eq!(find("docker.io/library/nginx:latest"), basic("c", "3"));
        assert_eq!(find("example.com/app"), None);
        assert_eq!(lookup(b"no json", "example.com/app"), None);
    }
}
