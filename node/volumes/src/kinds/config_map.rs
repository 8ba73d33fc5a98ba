//! `configMap`.

use std::path::PathBuf;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Volume};

use super::keyed::{self, Source};
use super::{Kind, Setup, publish};
use crate::VolumeError;
use crate::payload::{DEFAULT_MODE, Payload, mode};

pub(crate) struct ConfigMaps;

#[async_trait]
impl Kind for ConfigMaps {
    fn handles(&self, volume: &Volume) -> bool {
        volume.config_map.is_some()
    }

    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError> {
        let map = setup.volume.config_map.clone().unwrap_or_default();
        let source = Source {
            name: &map.name,
            items: map.items.as_deref(),
            default_mode: mode(map.default_mode, DEFAULT_MODE),
            optional: map.optional.unwrap_or(false),
        };
        publish(setup, files(setup, &source).await?, false).await
    }
}

pub(super) async fn files(setup: &Setup<'_>, source: &Source<'_>) -> Result<Payload, VolumeError> {
    let content = |map: &ConfigMap| {
        let text = map.data.iter().flatten().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
        text.chain(map.binary_data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone()))).collect()
    };
    keyed::files(setup, "configmap", source, content).await
}
