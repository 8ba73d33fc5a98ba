//! `persistentVolumeClaim`: the volume that the claim is bound to, where that is a folder of this node (`hostPath` and `local`).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Volume};
use mizzen_api::local_path::{PROVISIONED_BY, PROVISIONER};
use mizzen_api::selector::takes_node;
use mizzen_api::{GroupVersionResource, Object, Reason};
use serde::de::DeserializeOwned;

use super::host_path::check;
use super::{Kind, Setup};
use crate::VolumeError;

pub(crate) struct Claims;

#[async_trait]
impl Kind for Claims {
    fn handles(&self, volume: &Volume) -> bool {
        volume.persistent_volume_claim.is_some()
    }

    async fn setup(&self, setup: &Setup<'_>) -> Result<PathBuf, VolumeError> {
        let name = setup.volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.as_str()).unwrap_or_default();
        let claim: Arc<PersistentVolumeClaim> = get(setup, "persistentvolumeclaims", setup.pod.namespace(), name).await?;
        let bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        let Some(volume) = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|_| bound) else {
            return Err(VolumeError::Unbound { name: name.to_owned() });
        };
        let volume: Arc<PersistentVolume> = get(setup, "persistentvolumes", "", volume).await?;
        let spec = volume.spec.clone().unwrap_or_default();
        if spec.claim_ref.and_then(|reference| reference.uid) != claim.metadata.uid {
            return Err(VolumeError::Unbound { name: name.to_owned() });
        }
        if let Some(required) = spec.node_affinity.and_then(|affinity| affinity.required) {
            let node: Arc<Node> = get(setup, "nodes", "", setup.pod.node_name).await?;
            let terms: Vec<_> = required.node_selector_terms.iter().filter_map(|term| serde_json::to_value(term).ok()).collect();
            if !takes_node(&terms, setup.pod.node_name, &node.metadata.labels.clone().unwrap_or_default()) {
                return Err(VolumeError::Elsewhere { name: name.to_owned() });
            }
        }
        let annotations = volume.metadata.annotations.as_ref();
        let is_own = annotations.and_then(|all| all.get(PROVISIONED_BY)).is_some_and(|by| by == PROVISIONER);
        let (path, kind) = match (spec.host_path, spec.local) {
            (Some(source), _) => (source.path, source.type_.unwrap_or_default()),
            (None, Some(source)) => (source.path, "Directory".to_owned()),
            (None, None) => return Err(VolumeError::Unsupported { name: setup.volume.name.clone() }),
        };
        let path = PathBuf::from(path);
        let look = move || {
            if is_own {
                make_for_all(&path)?;
            }
            check(&path, &kind).map(|()| path)
        };
        tokio::task::spawn_blocking(look).await.map_err(|_| VolumeError::Worker)?
    }
}

/// A folder that whoever the pod runs as can write to.
fn make_for_all(path: &Path) -> Result<(), VolumeError> {
    if !path.exists() {
        fs::create_dir_all(path).map_err(VolumeError::io("create", path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(VolumeError::io("set the mode of", path))?;
    }
    Ok(())
}

async fn get<T: DeserializeOwned + Send + Sync + 'static>(
    setup: &Setup<'_>,
    kind: &'static str,
    namespace: &str,
    name: &str,
) -> Result<Arc<T>, VolumeError> {
    let resource = GroupVersionResource::new("", "v1", kind);
    let object: Result<Arc<Object>, _> = setup.client.get(&resource, namespace, name).await;
    let object = object.map_err(|status| match status.is(Reason::NotFound) {
        true => VolumeError::NotFound { kind, name: name.to_owned() },
        false => VolumeError::Api { operation: "get", kind, name: name.to_owned(), status: Box::new(status) },
    })?;
    object.typed().map_err(|source| VolumeError::Decode { kind, name: name.to_owned(), source })
}
