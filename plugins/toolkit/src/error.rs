//! What can go wrong for the author of a plugin.

use std::io;
use std::path::{Path, PathBuf};

use mizzen_plugins_host::{CallError, LoadError};

#[derive(Debug, thiserror::Error)]
pub enum ToolkitError {
    #[error("{doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("there is no plugin.yaml in {folder}: that is no plugin's project (`mizzen plugin new` begins one)")]
    NoProject { folder: PathBuf },
    #[error("{path} is there already")]
    Exists { path: PathBuf },
    #[error("{name:?} is no name for a plugin: use small letters, digits and dashes, and begin with a letter")]
    Name { name: String },
    #[error("read {path}: {source}")]
    Yaml { path: PathBuf, source: serde_yaml_ng::Error },
    #[error("{path}: {why}")]
    Table { path: PathBuf, why: String },
    #[error("`{command}` failed ({status})")]
    Build { command: String, status: String },
    #[error("{path} cannot be made a component: {source}")]
    Component { path: PathBuf, source: anyhow::Error },
    #[error("{name}: {source}")]
    Load { name: String, source: LoadError },
    #[error(transparent)]
    Call(#[from] CallError),
}

pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ToolkitError + use<> {
    let path = path.to_owned();
    move |source| ToolkitError::Io { doing, path, source }
}
