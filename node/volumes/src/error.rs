//! What can go wrong with a volume, in the words that a pod's `FailedMount` event shows.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: &'static str, name: String },
    #[error("references non-existent {kind} key: {key}")]
    MissingKey { kind: &'static str, key: String },
    #[error("{operation} {kind} \"{name}\": {status}")]
    Api { operation: &'static str, kind: &'static str, name: String, status: Box<mizzen_api::Status> },
    #[error("{kind} \"{name}\" does not fit its kind: {source}")]
    Decode {
        kind: &'static str,
        name: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("hostPath type check failed: {} is not a {wanted}", path.display())]
    HostPath { path: PathBuf, wanted: &'static str },
    #[error("path {path:?} must be relative and must not contain '..'")]
    Path { path: String },
    #[error("subPath {path:?} of volume \"{volume}\": {source}")]
    SubPath {
        volume: String,
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the image of volume \"{name}\": {why}")]
    Image { name: String, why: String },
    #[error("persistentvolumeclaim \"{name}\" is not bound")]
    Unbound { name: String },
    #[error("the volume of persistentvolumeclaim \"{name}\" is on another node")]
    Elsewhere { name: String },
    #[error("volume \"{name}\" is of a kind that this node does not have")]
    Unsupported { name: String },
    #[error("container \"{container}\" mounts volume \"{volume}\", which the pod does not have")]
    Unknown { container: String, volume: String },
    #[error("field {field}: {why}")]
    Field { field: String, why: String },
    #[error("{operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("a worker ended before it answered")]
    Worker,
}

impl VolumeError {
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }

    pub(crate) fn nix(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(nix::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source: source.into() }
    }
}
