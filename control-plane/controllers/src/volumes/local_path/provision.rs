//! The volume that a claim gets: pure.

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use mizzen_api::local_path::{FOLDER, NODE, PROVISIONED_BY, PROVISIONER, folder_of};
use serde_json::{Value, json};

use crate::volumes::bind::{PROVISIONER as ASKED, SELECTED_NODE};

const HOSTNAME: &str = "kubernetes.io/hostname";
/// What one node can give: to any number of its pods, or to one.
const ACCESS_MODES: [&str; 2] = ["ReadWriteOnce", "ReadWriteOncePod"];

/// Why a claim gets no folder.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("access mode {0} is not to be had from folders of a node, which other nodes do not reach: only {ACCESS_MODES:?}")]
    AccessMode(String),
    #[error("folders of a node are no block devices: volumeMode must be Filesystem")]
    Block,
    #[error("volumes are made without labels: a claim with a selector waits for one made by hand")]
    Selector,
    #[error("node {0} does not say where it keeps volumes")]
    Node(String),
}

impl Refusal {
    /// Whether the same claim may get a volume later.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Node(_))
    }
}

/// The node on which a volume is to be made; `None` where this is not asked of us, or no longer.
pub(super) fn asked_for(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotations = claim.metadata.annotations.as_ref()?;
    let has_volume = claim.spec.as_ref().is_some_and(|spec| spec.volume_name.as_deref().is_some_and(|name| !name.is_empty()));
    let wanted = !has_volume && claim.metadata.deletion_timestamp.is_none() && annotations.get(ASKED[0])? == PROVISIONER;
    annotations.get(SELECTED_NODE).map(String::as_str).filter(|_| wanted)
}

/// A volume that is kept for the claim.
///
/// # Errors
/// Why there can be none.
pub(super) fn volume(claim: &PersistentVolumeClaim, class: &StorageClass, node: &Node) -> Result<Value, Refusal> {
    let (metadata, spec) = (&claim.metadata, claim.spec.clone().unwrap_or_default());
    let access = spec.access_modes.unwrap_or_default();
    if let Some(other) = access.iter().find(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        return Err(Refusal::AccessMode(other.clone()));
    }
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err(Refusal::Block);
    }
    if spec.selector.is_some() {
        return Err(Refusal::Selector);
    }
    let node_name = node.metadata.name.clone().unwrap_or_default();
    let text = |all: &Option<std::collections::BTreeMap<String, String>>, key: &str| all.as_ref()?.get(key).cloned();
    let Some(folder) = text(&node.metadata.annotations, FOLDER) else { return Err(Refusal::Node(node_name)) };
    let hostname = text(&node.metadata.labels, HOSTNAME).unwrap_or_else(|| node_name.clone());
    let (namespace, claim_name) =
        (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
    let name = format!("pvc-{}", metadata.uid.as_deref().unwrap_or_default());
    let size = spec.resources.and_then(|resources| resources.requests?.get("storage").cloned());
    let term = json!({"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [hostname]}]});
    Ok(json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER, NODE: node_name}},
        "spec": {
            "capacity": {"storage": size}, "accessModes": access, "volumeMode": "Filesystem",
            "storageClassName": class.metadata.name,
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim_name,
                "uid": metadata.uid, "resourceVersion": metadata.resource_version},
            "local": {"path": format!("{folder}/{}", folder_of(&name, namespace, claim_name))},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }))
}
