//! `downwardAPI`: the pod's own fields as files.

use std::path::PathBuf;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, Volume};

use super::{Kind, Setup, publish};
use crate::payload::{DEFAULT_MODE, File, Payload, check_path, mode};
use crate::{VolumeError, fields};

pub(crate) struct DownwardApi;

#[async_trait]
impl Kind for DownwardApi {
    fn handles(&self, volume: &Volume) -> bool {
        volume.downward_api.is_some()
    }

    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError> {
        let source = setup.volume.downward_api.clone().unwrap_or_default();
        let default_mode = mode(source.default_mode, DEFAULT_MODE);
        publish(setup, files(setup, source.items.as_deref().unwrap_or_default(), default_mode)?, false).await
    }
}

pub(super) fn files(setup: &Setup<'_>, items: &[DownwardAPIVolumeFile], default_mode: u32) -> Result<Payload, VolumeError> {
    let mut payload = Payload::new();
    for item in items {
        check_path(&item.path)?;
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => fields::field(setup.pod, selector)?,
            (None, Some(selector)) => fields::resource(setup.pod, selector, None)?,
            (None, None) => return Err(VolumeError::Field { field: item.path.clone(), why: "no field is named".into() }),
        };
        payload.insert(item.path.clone(), File::new(text.into_bytes(), mode(item.mode, default_mode)));
    }
    Ok(payload)
}
