//! The kinds of volumes. A new kind is a file here and a line in [`all`].

mod claim;
mod config_map;
mod downward_api;
mod empty_dir;
mod host_path;
mod image;
mod keyed;
mod projected;
mod secret;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;
use mizzen_client::Client;

use crate::payload::Payload;
use crate::token::Tokens;
use crate::{PodContext, VolumeError, atomic, mounts};

/// What a kind may use.
pub(crate) struct Setup<'a> {
    pub(crate) volume: &'a Volume,
    pub(crate) pod: &'a PodContext<'a>,
    /// The volume's own directory; made by the kind.
    pub(crate) dir: PathBuf,
    pub(crate) client: &'a dyn Client,
    pub(crate) tokens: &'a Tokens,
}

#[async_trait]
pub(crate) trait Kind: Send + Sync {
    /// Whether the volume is of this kind.
    fn handles(&self, volume: &Volume) -> bool;

    /// Makes the volume or brings it up to date; answers where on the node it is.
    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError>;
}

pub(crate) fn all() -> [&'static dyn Kind; 8] {
    [
        &config_map::ConfigMaps,
        &secret::Secrets,
        &empty_dir::EmptyDirs,
        &host_path::HostPaths,
        &claim::Claims,
        &image::Images,
        &projected::ProjectedVolumes,
        &downward_api::DownwardApi,
    ]
}

/// Writes projected files; `in_memory` for what must not reach a disk.
async fn publish(setup: &Setup<'_>, mut payload: Payload, in_memory: bool) -> Result<PathBuf, VolumeError> {
    // Whoever reads for a whole pod may read what its manifest lets the owner read.
    if let Some(reader) = setup.pod.reader {
        payload.values_mut().for_each(|file| file.owner = Some(reader));
    }
    let (dir, group) = (setup.dir.clone(), setup.pod.fs_group());
    tokio::task::spawn_blocking(move || {
        // Open as an emptyDir is, which costs nothing: containers have it read-only.
        if in_memory {
            mounts::tmpfs(&dir, None, 0o1777, None)?;
        } else if !dir.is_dir() {
            std::fs::create_dir_all(&dir).map_err(VolumeError::io("create", &dir))?;
            std::fs::set_permissions(&dir, Permissions::from_mode(0o777)).map_err(VolumeError::io("set the mode of", &dir))?;
        }
        atomic::write(&dir, &payload, group)?;
        Ok(dir)
    })
    .await
    .map_err(|_| VolumeError::Worker)?
}
