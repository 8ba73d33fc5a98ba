//! `secret`: in memory, never on a disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{KeyToPath, Secret, Volume};
use mizzen_api::{GroupVersionResource, Reason};

use super::{Kind, Setup, publish};
use crate::VolumeError;
use crate::payload::{DEFAULT_MODE, Payload, mode, project};

pub(crate) struct Secrets;

#[async_trait]
impl Kind for Secrets {
    fn handles(&self, volume: &Volume) -> bool {
        volume.secret.is_some()
    }

    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError> {
        let source = setup.volume.secret.clone().unwrap_or_default();
        let default_mode = mode(source.default_mode, DEFAULT_MODE);
        let name = source.secret_name.unwrap_or_default();
        let optional = source.optional.unwrap_or(false);
        publish(setup, files(setup, &name, source.items.as_deref(), default_mode, optional).await?, true).await
    }
}

pub(super) async fn files(
    setup: &Setup<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    default_mode: u32,
    optional: bool,
) -> Result<Payload, VolumeError> {
    const KIND: &str = "secret";
    let object = match setup.client.get(&GroupVersionResource::new("", "v1", "secrets"), setup.pod.namespace(), name).await {
        Ok(object) => object,
        Err(status) if status.is(Reason::NotFound) && optional => return Ok(Payload::new()),
        Err(status) if status.is(Reason::NotFound) => return Err(VolumeError::NotFound { kind: KIND, name: name.to_owned() }),
        Err(status) => {
            return Err(VolumeError::Api { operation: "get", kind: KIND, name: name.to_owned(), status: Box::new(status) });
        }
    };
    let secret = object.typed::<Secret>().map_err(|source| VolumeError::Decode { kind: KIND, name: name.to_owned(), source })?;
    let data: BTreeMap<_, _> = secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone())).collect();
    project(KIND, &data, items, default_mode, optional)
}
