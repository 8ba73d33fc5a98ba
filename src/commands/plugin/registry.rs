//! Plugins in registries: `mizzen plugin push`, and what `inspect` finds by a reference.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use mizzen_images::signature::push_signature;
use mizzen_images::{ImageKind, ImageStore, layout};
use mizzen_plugins_host::Artifact;
use mizzen_plugins_toolkit as toolkit;

use super::{component, signing};
use crate::commands::login::{self, Login};

#[derive(Debug, clap::Args)]
pub(super) struct Push {
    /// Where to, such as registry.example.com/team/plugin:v1
    reference: String,
    /// A component, or a project's folder
    #[arg(long, value_name = "PATH", default_value = ".")]
    plugin: PathBuf,
    /// Sign it with this key (PKCS #8, PEM, not encrypted), as cosign does
    #[arg(long, value_name = "KEYFILE")]
    sign: Option<PathBuf>,
    #[command(flatten)]
    login: Login,
}

impl Push {
    /// Answers the digest of the manifest.
    pub(super) async fn run(&self, cache: Option<PathBuf>) -> anyhow::Result<String> {
        mizzen_images::normalize(&self.reference)?;
        let key = self.sign.as_deref().map(signing::read).transpose()?;
        let component = component(&self.plugin)?;
        // What is no plugin is refused here, not by the cluster that is told to load it.
        toolkit::inspect::load(&component, cache).await?;
        let folder = tempfile::tempdir().context("make a folder for the image")?;
        layout::build_wasm(folder.path(), Some(&self.reference), &component)?;
        let pushed = mizzen_images::push_layout(folder.path(), &self.reference, &self.login.credentials(), None).await;
        let digest = pushed.map_err(login::explained)?;
        if let Some(key) = key {
            let signed = push_signature(&self.reference, &digest, &key, &self.login.credentials()).await;
            signed.map_err(login::explained)?;
        }
        Ok(digest)
    }
}

/// A plugin in a registry, and the digest of its manifest.
pub(super) async fn pull(reference: &str, login: &Login, cache: Option<PathBuf>) -> anyhow::Result<(Arc<Artifact>, String)> {
    let folder = tempfile::tempdir().context("make a folder for the image")?;
    let store = ImageStore::open(folder.path().to_owned())?;
    let image = store.pull(reference, &login.credentials(), None).await.map_err(login::explained)?;
    let ImageKind::Wasm(wasm) = &image.kind else { anyhow::bail!("{reference} is not a plugin but a container image") };
    let bytes = std::fs::read(&wasm.path).with_context(|| format!("read {}", wasm.path.display()))?;
    Ok((toolkit::inspect::compile(reference, bytes, cache).await?, image.digest.clone()))
}
