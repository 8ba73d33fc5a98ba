//! Where components come from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use mizzen_images::{Collect, Credentials, Image, ImageError, ImageKind, ImageStore, Settings};

use crate::refusal::{NO_COMPONENT, PULL_FAILED, Refusal};

/// Greater ones are refused before they are fetched.
const LARGEST: u64 = 256 << 20;

/// A component that is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Of the manifest that names it.
    pub manifest: String,
    /// Of its bytes (`sha256:…`).
    pub digest: String,
    pub path: PathBuf,
}

impl Component {
    /// # Errors
    /// When it cannot be read, or is not what its digest says.
    pub async fn read(&self) -> Result<Vec<u8>, Refusal> {
        let bytes = tokio::fs::read(&self.path).await;
        let bytes = bytes.map_err(|error| Refusal::new(NO_COMPONENT, format!("read {}: {error}", self.path.display())))?;
        let actual = format!("sha256:{}", mizzen_images::sha256(&bytes));
        if actual != self.digest {
            let message = format!("{} is not what its digest says: it has {actual}", self.digest);
            return Err(Refusal::new(NO_COMPONENT, message));
        }
        Ok(bytes)
    }
}

/// Gets components by the references of images.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Asks the registry, and fetches what is not here.
    ///
    /// # Errors
    /// When it cannot be had, or is no component.
    async fn pull(&self, image: &str, login: &Credentials) -> Result<Component, Refusal>;

    /// What an image was when it was last fetched; `None` when it never was.
    fn kept(&self, image: &str) -> Option<Component>;

    /// Forgets what was fetched before a moment, save these manifests.
    async fn keep_only(&self, manifests: Vec<String>, before: SystemTime);
}

/// A folder of images, by their digests.
pub struct Registries(Arc<ImageStore>);

impl Registries {
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: PathBuf) -> Result<Self, ImageError> {
        let settings = Settings { attempts: 2, layer_bytes: LARGEST, ..Settings::default() };
        Ok(Self(ImageStore::open_with(folder, settings)?))
    }
}

#[async_trait]
impl Fetch for Registries {
    async fn pull(&self, image: &str, login: &Credentials) -> Result<Component, Refusal> {
        let pulled = self.0.pull(image, login, None).await.map_err(|error| Refusal::new(PULL_FAILED, said(&error)))?;
        component(&pulled)
            .ok_or_else(|| Refusal::new(NO_COMPONENT, format!("{image} is a container image, not a Wasm component")))
    }

    fn kept(&self, image: &str) -> Option<Component> {
        component(self.0.get(image)?.as_ref())
    }

    async fn keep_only(&self, manifests: Vec<String>, before: SystemTime) {
        let in_use = manifests.into_iter().collect();
        let wanted = Collect { in_use, bytes: u64::MAX, unused_since: before };
        if let Err(error) = self.0.gc(wanted).await {
            tracing::warn!(%error, "remove plugins that nobody uses");
        }
    }
}

fn component(image: &Image) -> Option<Component> {
    match &image.kind {
        ImageKind::Wasm(wasm) => {
            Some(Component { manifest: image.digest.clone(), digest: wasm.digest.clone(), path: wasm.path.clone() })
        }
        ImageKind::Container(_) => None,
    }
}

/// The error in words that fit here: there is no pod.
fn said(error: &ImageError) -> String {
    match error {
        ImageError::Unauthorized { registry, reference } => {
            format!("registry {registry} refused the credentials for {reference} (a plugin's are its spec.pullSecret)")
        }
        error => error.to_string(),
    }
}
