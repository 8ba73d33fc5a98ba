//! Who the pod is at a registry: its `imagePullSecrets`, which its service account's became when it was created.

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mizzen_images::Credentials;
use mizzen_reconcile::typed;

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
    // An empty name is accepted, with a warning, and names none.
    let names = spec.image_pull_secrets.iter().flatten().map(|secret| secret.name.clone()).filter(|name| !name.is_empty());
    let mut found = Vec::new();
    for name in names {
        match typed::get::<Secret>(shared.client.as_ref(), namespace, &name).await {
            Ok(Some(secret)) => {
                let config = secret.data.as_ref().and_then(|data| data.get(CONFIG_JSON));
                let credentials = config.and_then(|config| Credentials::find(&config.0, reference));
                found.extend(credentials.and_then(|credentials| login(credentials, &secret.metadata)));
            }
            Ok(None) => tracing::debug!(namespace, name, "an image pull secret does not exist"),
            Err(error) => tracing::warn!(namespace, name, %error, "image pull secret not read"),
        }
    }
    found
}

fn login(credentials: Credentials, secret: &ObjectMeta) -> Option<Login> {
    let Credentials::Basic { username, password } = &credentials else { return None };
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    // A zero byte is in neither, so that no two pairs are one text.
    let hash = mizzen_images::sha256(format!("{username}\0{password}").as_bytes());
    let secret = PullSecret { uid: of(&secret.uid), namespace: of(&secret.namespace), name: of(&secret.name), hash };
    Some(Login { credentials, secret })
}
