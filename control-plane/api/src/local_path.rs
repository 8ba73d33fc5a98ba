//! Volumes that are folders of a node: what the control plane and its nodes tell each other of them.

/// `provisioner` of the storage classes whose volumes are made so.
pub const PROVISIONER: &str = "mizzen.dev/local-path";
/// Annotation of a node: the folder in which it keeps such volumes, an absolute path.
pub const FOLDER: &str = "mizzen.dev/local-path";
/// Annotation of a volume: the node that has it.
pub const NODE: &str = "mizzen.dev/node";
/// Annotation of a volume (well-known): who made it, and removes it when its claim is gone.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// The volume whose files are in a folder of this name, in [`FOLDER`]: people find them by namespace and name of the claim,
/// which follow.
pub fn volume_of(folder: &str) -> &str {
    folder.split('_').next().unwrap_or(folder)
}

/// The folder of a volume for the claim.
pub fn folder_of(volume: &str, namespace: &str, claim: &str) -> String {
    format!("{volume}_{namespace}_{claim}")
}
