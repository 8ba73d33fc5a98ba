//! What can go wrong, in words for a pod's events.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// What a plugin says of why it failed (specification, section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Failure {
    pub code: u32,
    pub msg: String,
    pub details: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.msg)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        write!(f, " (code {})", self.code)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CniError {
    #[error("CNI configuration {}: {why}", path.display())]
    Configuration { path: PathBuf, why: String },
    #[error("failed to find plugin {plugin:?} in path {dirs:?}")]
    NoPlugin { plugin: String, dirs: Vec<PathBuf> },
    #[error("plugin type={plugin:?} failed ({command}): {failure}")]
    Plugin { plugin: String, command: String, failure: Failure },
    #[error("plugin type={plugin:?} failed ({command}): {why}")]
    Broken { plugin: String, command: String, why: String },
    #[error("plugin type={plugin:?} answered ({command}) with no result: {source}")]
    Answer {
        plugin: String,
        command: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("network {network:?}: {why}")]
    Result { network: String, why: String },
    #[error("{operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("kept result {}: {source}", path.display())]
    Kept {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
}

pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> CniError {
    let path = path.into();
    move |source| CniError::Io { operation, path, source }
}
