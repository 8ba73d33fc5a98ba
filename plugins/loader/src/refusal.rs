//! Why a plugin is not loaded.

/// As the condition `Ready` and an event say it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// In CamelCase.
    pub reason: &'static str,
    /// For a person who is to do something about it.
    pub message: String,
}

impl Refusal {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The image cannot be had: the registry, its login, or what it sent.
pub const PULL_FAILED: &str = "PullFailed";
/// The secret with the login is missing, or has none for this registry.
pub const NO_LOGIN: &str = "PullSecretUnusable";
/// Nobody who is trusted signed the image, and the cluster's configuration requires it.
pub const NOT_SIGNED: &str = "NotSigned";
/// The image is something else than one Wasm component.
pub const NO_COMPONENT: &str = "NotAComponent";
