//! Images as the agent sees them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Normalised, as asked for: `docker.io/library/nginx:latest`.
    pub reference: String,
    /// Of the image's manifest (`sha256:…`): the image that was chosen where the reference names an index.
    pub digest: String,
    /// Of the image's config (`sha256:…`): the image id.
    pub id: String,
    /// Bytes of config and layers as the registry keeps them.
    pub size: u64,
    pub kind: ImageKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageKind {
    Container(ContainerImage),
    Wasm(WasmImage),
}

impl Image {
    pub fn config(&self) -> &ImageConfig {
        match &self.kind {
            ImageKind::Container(container) => &container.config,
            ImageKind::Wasm(wasm) => &wasm.config,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerImage {
    /// Unpacked directories, the lowest first.
    pub layers: Vec<PathBuf>,
    pub config: ImageConfig,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmImage {
    /// The module or component.
    pub path: PathBuf,
    /// Of the module's bytes (`sha256:…`).
    pub digest: String,
    pub config: ImageConfig,
}

/// How the image wants to be run, from the config's `config` object (OCI image specification).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub working_dir: String,
    /// `user[:group]`, names or numbers; empty is root. See [`crate::resolve_user`].
    pub user: String,
    /// Empty is `SIGTERM`.
    pub stop_signal: String,
    pub labels: BTreeMap<String, String>,
}
