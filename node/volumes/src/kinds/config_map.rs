//! `configMap`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, Volume};
use mizzen_api::{GroupVersionResource, Reason};

use super::{Kind, Setup, publish};
use crate::VolumeError;
use crate::payload::{DEFAULT_MODE, Payload, mode, project};

pub(crate) struct ConfigMaps;

#[async_trait]
impl Kind for ConfigMaps {
    fn handles(&self, volume: &Volume) -> bool {
        volume.config_map.is_some()
    }

    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError> {
        let source = setup.volume.config_map.clone().unwrap_or_default();
        let default_mode = mode(source.default_mode, DEFAULT_MODE);
        let optional = source.optional.unwrap_or(false);
        publish(setup, files(setup, &source.name, source.items.as_deref(), default_mode, optional).await?, false).await
    }
}

pub(super) async fn files(
    setup: &Setup<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    default_mode: u32,
    optional: bool,
) -> Result<Payload, VolumeError> {
    const KIND: &str = "configmap";
    let object = match setup.client.get(&GroupVersionResource::new("", "v1", "configmaps"), setup.pod.namespace(), name).await {
        Ok(object) => object,
        Err(status) if status.is(Reason::NotFound) && optional => return Ok(Payload::new()),
        Err(status) if status.is(Reason::NotFound) => return Err(VolumeError::NotFound { kind: KIND, name: name.to_owned() }),
        Err(status) => {
            return Err(VolumeError::Api { operation: "get", kind: KIND, name: name.to_owned(), status: Box::new(status) });
        }
    };
    let map = object.typed::<ConfigMap>().map_err(|source| VolumeError::Decode { kind: KIND, name: name.to_owned(), source })?;
    let text = map.data.iter().flatten().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone()));
    project(KIND, &text.chain(binary).collect::<BTreeMap<_, _>>(), items, default_mode, optional)
}
