//! `emptyDir`: on disk, or with medium `Memory` a tmpfs, which `sizeLimit` bounds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
            if in_memory {
                let inherited = if group.is_some() { 0o2000 } else { 0 };
                mounts::tmpfs(&dir, size, 0o777 | inherited, group)?;
            } else if !dir.exists() {
                make(&dir, group)?;
            }
            Ok(dir)
        })
        .await
        .map_err(|_| VolumeError::Worker)?
    }
}

/// Once: later the volume is the pod's, with whatever modes it likes. It has its name when it has its modes, or an agent that
/// ended in between would leave one that only root can write to.
fn make(dir: &Path, group: Option<u32>) -> Result<(), VolumeError> {
    // No volume has a name with a dot.
    let aside = dir.with_extension("new");
    fs::create_dir_all(&aside).map_err(VolumeError::io("create", &aside))?;
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o777)).map_err(VolumeError::io("set the mode of", &aside))?;
    ownership::hand_over(&aside, group, Access::ReadWrite)?;
    fs::rename(&aside, dir).map_err(VolumeError::io("rename", &aside))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_folder_that_was_left_half_made_is_finished() {
        let root = tempfile::tempdir().expect("makes a directory");
        let (dir, left) = (root.path().join("volumes/scratch"), root.path().join("volumes/scratch.new"));
        fs::create_dir_all(&left).expect("makes");
        fs::set_permissions(&left, fs::Permissions::from_mode(0o755)).expect("sets the mode");
        let group = fs::metadata(root.path()).expect("is there").gid();
        make(&dir, Some(group)).expect("makes");
        assert!(!left.exists());
        let made = fs::metadata(&dir).expect("is there");
        assert_eq!((made.mode() & 0o7777, made.gid()), (0o2777, group));
    }
}
