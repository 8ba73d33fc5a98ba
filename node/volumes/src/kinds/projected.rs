//! `projected`: several sources in one directory, such as the service account's token with the cluster's root certificate.

use std::path::PathBuf;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Volume, VolumeProjection};

use super::keyed::Source;
use super::{Kind, Setup, config_map, downward_api, publish, secret};
use crate::VolumeError;
use crate::payload::{DEFAULT_MODE, File, Payload, check_path, mode};

pub(crate) struct ProjectedVolumes;

#[async_trait]
impl Kind for ProjectedVolumes {
    fn handles(&self, volume: &Volume) -> bool {
        volume.projected.is_some()
    }

    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError> {
        let source = setup.volume.projected.clone().unwrap_or_default();
        let default_mode = mode(source.default_mode, DEFAULT_MODE);
        let mut payload = Payload::new();
        for projection in source.sources.iter().flatten() {
            payload.extend(files(setup, projection, default_mode).await?);
        }
        publish(setup, payload, true).await
    }
}

async fn files(setup: &Setup<'_>, projection: &VolumeProjection, default_mode: u32) -> Result<Payload, VolumeError> {
    if let Some(source) = &projection.config_map {
        let optional = source.optional.unwrap_or(false);
        let source = Source { name: &source.name, items: source.items.as_deref(), default_mode, optional };
        return config_map::files(setup, &source).await;
    }
    if let Some(source) = &projection.secret {
        let optional = source.optional.unwrap_or(false);
        let source = Source { name: &source.name, items: source.items.as_deref(), default_mode, optional };
        return secret::files(setup, &source).await;
    }
    if let Some(source) = &projection.downward_api {
        return downward_api::files(setup, source.items.as_deref().unwrap_or_default(), default_mode);
    }
    if let Some(source) = &projection.service_account_token {
        check_path(&source.path)?;
        let token = setup.tokens.get(setup.client, setup.pod, source.audience.as_deref(), source.expiration_seconds).await?;
        // Where it is known who will use a token, nobody else may: the pod's one user, or its group.
        let owner = setup.pod.user();
        let mode = if owner.is_some() || setup.pod.fs_group().is_some() { 0o600 } else { default_mode };
        return Ok([(source.path.clone(), File { bytes: token.into_bytes(), mode, owner })].into());
    }
    Err(VolumeError::Unsupported { name: setup.volume.name.clone() })
}
