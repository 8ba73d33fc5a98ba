//! `emptyDir`: on disk, or with medium `Memory` a tmpfs, which `sizeLimit` bounds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;
use mizzen_api::quantity::Quantity;

use super::{Kind, Setup};
use crate::ownership::{self, Access};
use crate::{VolumeError, mounts};

pub(crate) struct EmptyDirs;

#[async_trait]
impl Kind for EmptyDirs {
    fn handles(&self, volume: &Volume) -> bool {
        volume.empty_dir.is_some()
    }

    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError> {
        let source = setup.volume.empty_dir.clone().unwrap_or_default();
        let in_memory = source.medium.as_deref() == Some("Memory");
        let size = source.size_limit.as_ref().and_then(|limit| limit.0.parse::<Quantity>().ok()).map(Quantity::value);
        let (dir, group) = (setup.dir.clone(), setup.pod.fs_group());
        tokio::task::spawn_blocking(move || {
            let is_new = !dir.exists();
            if in_memory {
                mounts::tmpfs(&dir, size, 0o777)?;
            } else {
                fs::create_dir_all(&dir).map_err(VolumeError::io("create", &dir))?;
            }
            // Once: later the volume is the pod's, with whatever modes it likes.
            if is_new {
                fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).map_err(VolumeError::io("set the mode of", &dir))?;
                ownership::hand_over(&dir, group, Access::ReadWrite)?;
            }
            Ok(dir)
        })
        .await
        .map_err(|_| VolumeError::Worker)?
    }
}
