//! Who we are at a registry.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    Anonymous,
    Basic {
        username: String,
        password: String,
    },
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
}

impl Credentials {
    /// The entry of a `.dockerconfigjson` whose key is the longest that covers the image of a normalised reference.
    pub fn find(config: &[u8], reference: &str) -> Option<Self> {
        let config: DockerConfig = serde_json::from_slice(config).ok()?;
        let covers = |key: &&String| {
            let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
            let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
            let key = if key == "index.docker.io" { "docker.io" } else { key };
            reference.strip_prefix(key).is_some_and(|rest| rest.starts_with(['/', ':', '@']))
        };
        let key = config.auths.keys().filter(covers).max_by_key(|key| key.len())?;
        let entry = config.auths.get(key)?;
        if !entry.username.is_empty() {
            return Some(Self::Basic { username: entry.username.clone(), password: entry.password.clone() });
        }
        let decoded = String::from_utf8(STANDARD.decode(&entry.auth).ok()?).ok()?;
        let (username, password) = decoded.split_once(':')?;
        Some(Self::Basic { username: username.to_owned(), password: password.to_owned() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => {
                f.debug_struct("Basic").field("username", username).field("password", &"<redacted>").finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn basic(username: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Basic { username: username.into(), password: password.into() })
    }

    #[test]
    fn the_longest_key_that_covers_the_image_wins() {
        let config = json!({"auths": {
            "127.0.0.1:5000": {"username": "a", "password": "1"},
            "127.0.0.1:5000/team": {"auth": STANDARD.encode("b:2:3")},
            "https://index.docker.io/v1/": {"username": "c", "password": "3"},
        }})
        .to_string();
        let find = |reference: &str| Credentials::find(config.as_bytes(), reference);
        assert_eq!(find("127.0.0.1:5000/app:1"), basic("a", "1"));
        assert_eq!(find("127.0.0.1:5000/team/app:1"), basic("b", "2:3"));
        assert_eq!(find("127.0.0.1:5000/teams/app:1"), basic("a", "1"));
        assert_eq!(find("docker.io/library/nginx:latest"), basic("c", "3"));
        assert_eq!(find("example.com/app"), None);
        assert_eq!(Credentials::find(b"no json", "example.com/app"), None);
    }

    #[test]
    fn a_password_is_never_printed() {
        let text = format!("{:?}", Credentials::Basic { username: "ann".into(), password: "hunter2".into() });
        assert!(text.contains("ann") && !text.contains("hunter2"), "{text}");
    }
}
