//! What can go wrong with an image, in words that a pod's events show.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("image reference {reference:?}: {why}")]
    Reference { reference: String, why: String },
    /// Neither the registry nor the store has it.
    #[error("image {reference} not found: {why}")]
    NotFound { reference: String, why: String },
    #[error("registry {registry} refused the credentials for {reference} (a pod's are its imagePullSecrets)")]
    Unauthorized { registry: String, reference: String },
    #[error("registry {registry} limits requests (429) for {reference}; gave up after {attempts} attempts")]
    RateLimited { registry: String, reference: String, attempts: u32 },
    #[error("registry {registry} failed with status {status} for {reference} in {attempts} attempts: {message}")]
    ServerError { registry: String, reference: String, status: u16, attempts: u32, message: String },
    #[error("registry {registry} sent nothing for {} s while {what} of {reference} was being fetched", after.as_secs_f32())]
    Stalled { registry: String, reference: String, what: String, after: Duration },
    #[error("registry {registry} cannot be reached for {reference}: {why}")]
    Unreachable { registry: String, reference: String, why: String },
    #[error("registry {registry} answered {reference} with something that is no OCI answer: {why}")]
    Protocol { registry: String, reference: String, why: String },
    #[error("{what} is not what its digest says: expected {expected}, got {actual}")]
    DigestMismatch { what: String, expected: String, actual: String },
    #[error("{what} is truncated: {why}")]
    Truncated { what: String, why: String },
    #[error("manifest of {reference}: {why}")]
    Manifest { reference: String, why: String },
    #[error("image {reference} is for {offered}, this node runs {wanted} and wasi/wasm")]
    Platform { reference: String, offered: String, wanted: String },
    #[error("layer {layer}: entry {entry:?} would leave the root directory: {why}")]
    Escape { layer: String, entry: String, why: String },
    #[error("layer {layer}: entry {entry:?} is a {kind}, which an image must not bring")]
    ForbiddenEntry { layer: String, entry: String, kind: &'static str },
    #[error("layer {layer}: {what} is beyond the limit of {limit}")]
    TooLarge { layer: String, what: &'static str, limit: u64 },
    #[error("layer {layer} is no archive that can be unpacked: {why}")]
    Archive { layer: String, why: String },
    #[error("image {reference}: {why}")]
    Wasm { reference: String, why: String },
    #[error("signature of {reference}: {why}")]
    Signature { reference: String, why: String },
    #[error("user {user:?}: {why}")]
    User { user: String, why: String },
    #[error("OCI layout {}: {why}", path.display())]
    Layout { path: PathBuf, why: String },
    #[error("{operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("a worker of the image store ended before it answered")]
    Worker,
}

impl ImageError {
    /// The container's waiting reason as Kubernetes names it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Reference { .. } => "InvalidImageName",
            _ => "ErrImagePull",
        }
    }
}
