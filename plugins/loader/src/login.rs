//! Who a plugin is at its registry.

use k8s_openapi::api::core::v1::Secret;
use mizzen_client::Client;
use mizzen_images::Credentials;
use mizzen_reconcile::typed;

use crate::refusal::{NO_LOGIN, Refusal};
use crate::wanted::Wanted;

const CONFIG_JSON: &str = ".dockerconfigjson";

/// # Errors
/// When a secret is named that is of no use.
pub(crate) async fn find(client: &dyn Client, wanted: &Wanted) -> Result<Credentials, Refusal> {
    let Some(secret) = &wanted.pull_secret else { return Ok(Credentials::Anonymous) };
    let unusable = |why: String| Refusal::new(NO_LOGIN, format!("secret {secret}: {why}"));
    let found = typed::get::<Secret>(client, &secret.namespace, &secret.name).await;
    let found = found.map_err(|error| unusable(error.to_string()))?.ok_or_else(|| unusable("not found".to_owned()))?;
    let config = found.data.as_ref().and_then(|data| data.get(CONFIG_JSON));
    let config = config.ok_or_else(|| unusable(format!("has no {CONFIG_JSON}")))?;
    let reference = mizzen_images::normalize(&wanted.image).map_err(|error| unusable(error.to_string()))?;
    Credentials::find(&config.0, &reference).ok_or_else(|| unusable(format!("has no login for {reference}")))
}
