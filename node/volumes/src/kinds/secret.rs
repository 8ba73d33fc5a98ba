//! `secret`: in memory, never on a disk.

use std::path::PathBuf;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Secret, Volume};

use super::keyed::{self, Source};
use super::{Kind, Setup, publish};
use crate::VolumeError;
use crate::payload::{DEFAULT_MODE, Payload, mode};

pub(crate) struct Secrets;

#[async_trait]
impl Kind for Secrets {
    fn handles(&self, volume: &Volume) -> bool {
        volume.secret.is_some()
    }

    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError> {
        let secret = setup.volume.secret.clone().unwrap_or_default();
        let source = Source {
            name: secret.secret_name.as_deref().unwrap_or_default(),
            items: secret.items.as_deref(),
            default_mode: mode(secret.default_mode, DEFAULT_MODE),
            optional: secret.optional.unwrap_or(false),
        };
        publish(setup, files(setup, &source).await?, true).await
    }
}

pub(super) async fn files(setup: &Setup<'_>, source: &Source<'_>) -> Result<Payload, VolumeError> {
    let content = |secret: &Secret| secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone())).collect();
    keyed::files(setup, "secret", source, content).await
}
