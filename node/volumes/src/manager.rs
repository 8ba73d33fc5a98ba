//! All volumes of the node's pods.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Volume, VolumeMount};
use mizzen_client::Client;

use crate::kinds::{self, Setup};
use crate::token::Tokens;
use crate::{PodContext, VolumeError, mounts, subpath};

/// Where each volume of a pod is on the node, by the volume's name.
pub type Mounted = BTreeMap<String, PathBuf>;

pub struct VolumeManager {
    root: PathBuf,
    client: Arc<dyn Client>,
    tokens: Tokens,
}

impl VolumeManager {
    /// Pods' directories are made below `root`, named by uid. Nobody but root finds a way from one to another: who has been
    /// given a folder of a pod could otherwise go up from there. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: PathBuf, client: Arc<dyn Client>) -> Result<Self, VolumeError> {
        fs::create_dir_all(&root).map_err(VolumeError::io("create", &root))?;
        fs::set_permissions(&root, Permissions::from_mode(0o700)).map_err(VolumeError::io("set the mode of", &root))?;
        Ok(Self { root, client, tokens: Tokens::default() })
    }

    /// Makes the pod's volumes, or brings them up to date.
    ///
    /// # Errors
    /// The first volume (by name) that failed, with why; call again.
    pub async fn setup(&self, pod: &PodContext<'_>) -> Result<Mounted, (String, VolumeError)> {
        let mut mounted = Mounted::new();
        for volume in pod.pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default() {
            let path = self.one(pod, volume).await.map_err(|error| (volume.name.clone(), error))?;
            mounted.insert(volume.name.clone(), path);
        }
        Ok(mounted)
    }

    async fn one(&self, pod: &PodContext<'_>, volume: &Volume) -> Result<PathBuf, VolumeError> {
        let kind = kinds::all().into_iter().find(|kind| kind.handles(volume));
        let kind = kind.ok_or_else(|| VolumeError::Unsupported { name: volume.name.clone() })?;
        let dir = self.pod_dir(pod.uid()).join("volumes").join(&volume.name);
        kind.setup(&Setup { volume, pod, dir, client: self.client.as_ref(), tokens: &self.tokens }).await
    }

    /// Makes an image's directories, the lowest first, the volume of a pod. No error when they are already.
    ///
    /// # Errors
    /// When they cannot be mounted.
    pub async fn stack(&self, uid: &str, volume: &str, layers: Vec<PathBuf>) -> Result<(), VolumeError> {
        let dir = self.pod_dir(uid).join("volumes").join(volume);
        tokio::task::spawn_blocking(move || mounts::stack(&layers, &dir)).await.map_err(|_| VolumeError::Worker)?
    }

    /// The path to mount into a container: the volume's own, or a part of it. `sub_path` is the mount's `subPath`, or its
    /// `subPathExpr` with the variables filled in.
    ///
    /// # Errors
    /// A volume that the pod does not have; a subPath that leaves its volume.
    pub async fn source(
        &self,
        uid: &str,
        container: &str,
        mounted: &Mounted,
        mount: (usize, &VolumeMount),
        sub_path: Option<&str>,
    ) -> Result<PathBuf, VolumeError> {
        let (index, mount) = mount;
        let unknown = || VolumeError::Unknown { container: container.to_owned(), volume: mount.name.clone() };
        let root = mounted.get(&mount.name).ok_or_else(unknown)?.clone();
        let Some(path) = sub_path.filter(|path| !path.is_empty()) else { return Ok(root) };
        let target = self.pod_dir(uid).join("subpaths").join(container).join(index.to_string());
        let (volume, path) = (mount.name.clone(), path.to_owned());
        tokio::task::spawn_blocking(move || subpath::bind(&volume, &root, &path, &target).map(|()| target))
            .await
            .map_err(|_| VolumeError::Worker)?
    }

    /// Unmounts and removes what the pod had. No error when there was nothing.
    ///
    /// # Errors
    /// What could not be removed; call again.
    pub async fn teardown(&self, uid: &str) -> Result<(), VolumeError> {
        self.tokens.forget(uid);
        let dir = self.pod_dir(uid);
        tokio::task::spawn_blocking(move || {
            mounts::unmount_below(&dir)?;
            match fs::remove_dir_all(&dir) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    Err(VolumeError::Io { operation: "remove", path: dir, source })
                }
                _ => Ok(()),
            }
        })
        .await
        .map_err(|_| VolumeError::Worker)?
    }

    /// The uids that have a directory here.
    pub fn pods(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root.join(uid)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}
