//! Where components come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use mizzen_images::{Collect, Credentials, Image, ImageError, ImageKind, ImageStore, Settings};

use crate::PluginsError;
use crate::refusal::{NO_COMPONENT, NOT_SIGNED, PULL_FAILED, Refusal};
use crate::trust::{Signatures, Trust};

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
    /// The id of the trusted key that signed it.
    pub signer: Option<String>,
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
    /// When it cannot be had, is no component, or is not signed by whom it must be.
    async fn pull(&self, image: &str, login: &Credentials) -> Result<Component, Refusal>;

    /// What an image was when it was last fetched; `None` when it never was, or is not to be taken any more.
    fn kept(&self, image: &str) -> Option<Component>;

    /// Forgets what was fetched before a moment, save these manifests.
    async fn keep_only(&self, manifests: Vec<String>, before: SystemTime);
}

/// A folder of images, by their digests, and of their signatures.
pub struct Registries {
    images: Arc<ImageStore>,
    signatures: Signatures,
}

impl Registries {
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path, trust: Trust) -> Result<Self, PluginsError> {
        let settings = Settings { attempts: 2, layer_bytes: LARGEST, ..Settings::default() };
        let images = ImageStore::open_with(folder.join("images"), settings)?;
        Ok(Self { images, signatures: Signatures::open(folder.join("signatures"), trust)? })
    }

    /// Looks for the signatures of an image, unless those that are known will do.
    async fn look(&self, image: &Image, component: &Component, login: &Credentials) -> Result<(), Refusal> {
        let is_known = self.signatures.judge(component.clone()).is_ok_and(|component| component.signer.is_some());
        if is_known || !self.signatures.matter() {
            return Ok(());
        }
        let found = self.images.signatures(image, login).await.map_err(|error| Refusal::new(PULL_FAILED, said(&error)))?;
        let written = self.signatures.write(&component.manifest, &found);
        written.map_err(|error| Refusal::new(PULL_FAILED, format!("keep the signatures of {}: {error}", image.reference)))
    }
}

#[async_trait]
impl Fetch for Registries {
    async fn pull(&self, image: &str, login: &Credentials) -> Result<Component, Refusal> {
        let pulled = self.images.pull(image, login, None).await.map_err(|error| Refusal::new(PULL_FAILED, said(&error)))?;
        let component = component(&pulled)
            .ok_or_else(|| Refusal::new(NO_COMPONENT, format!("{image} is a container image, not a Wasm component")))?;
        match self.look(&pulled, &component, login).await {
            // Who only wants to know is not to be kept from it by what cannot be read.
            Err(why) if !self.signatures.are_required() => tracing::warn!(image, %why, "look for a plugin's signatures"),
            looked => looked?,
        }
        let refused = |why| Refusal::new(NOT_SIGNED, format!("{image} ({}) is not taken: {why}", component.manifest));
        self.signatures.judge(component.clone()).map_err(refused)
    }

    fn kept(&self, image: &str) -> Option<Component> {
        self.signatures.judge(component(self.images.get(image)?.as_ref())?).ok()
    }

    async fn keep_only(&self, manifests: Vec<String>, before: SystemTime) {
        self.signatures.keep_only(&manifests, before);
        let in_use = manifests.into_iter().collect();
        let wanted = Collect { in_use, bytes: u64::MAX, unused_since: before };
        if let Err(error) = self.images.gc(wanted).await {
            tracing::warn!(%error, "remove plugins that nobody uses");
        }
    }
}

fn component(image: &Image) -> Option<Component> {
    match &image.kind {
        ImageKind::Wasm(wasm) => {
            let (manifest, digest, path) = (image.digest.clone(), wasm.digest.clone(), wasm.path.clone());
            Some(Component { manifest, digest, path, signer: None })
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
