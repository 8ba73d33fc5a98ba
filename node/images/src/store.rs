//! The images of one node.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Credentials, Image, ImageError, Progress};

/// What [`ImageStore::gc`] took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// References.
    pub images: Vec<String>,
    /// On disk.
    pub bytes: u64,
}

/// The images of one node. Methods may be called from many tasks at once.
pub struct ImageStore {
    root: PathBuf,
}

impl ImageStore {
    /// # Errors
    /// When the directory cannot be made or read.
    pub fn open(root: PathBuf) -> Result<Arc<Self>, ImageError> {
        Ok(Arc::new(Self { root }))
    }

    /// Fetches what of the image is not here yet, verifies and unpacks it. The registry is always asked which image a tag
    /// is now.
    ///
    /// # Errors
    /// One variant per cause; nothing partial stays.
    pub async fn pull(
        self: &Arc<Self>,
        reference: &str,
        credentials: &Credentials,
        progress: Option<Arc<dyn Progress>>,
    ) -> Result<Arc<Image>, ImageError> {
        let _ = (credentials, progress);
        Err(ImageError::NotFound { reference: reference.to_owned(), why: "pulling is not built yet".into() })
    }

    /// By tag, digest or id (`sha256:…`, or its hex digits, at least 12).
    pub fn get(&self, reference: &str) -> Option<Arc<Image>> {
        let _ = reference;
        None
    }

    /// In the order of their references.
    pub fn list(&self) -> Vec<Arc<Image>> {
        Vec::new()
    }

    /// Forgets a reference, or all of them by id; the content goes with the next [`ImageStore::gc`]. False when there was
    /// none.
    ///
    /// # Errors
    /// When the reference's file cannot be removed.
    pub fn remove(&self, reference: &str) -> Result<bool, ImageError> {
        let _ = reference;
        Ok(false)
    }

    /// Takes in every image of an OCI layout folder under its `org.opencontainers.image.ref.name`, or its only one under
    /// `reference`.
    ///
    /// # Errors
    /// As for [`ImageStore::pull`].
    pub async fn import(self: &Arc<Self>, layout: &Path, reference: Option<&str>) -> Result<Vec<Arc<Image>>, ImageError> {
        let _ = reference;
        Err(ImageError::Layout { path: layout.to_owned(), why: "importing is not built yet".into() })
    }

    /// Sends an OCI layout folder's image, or one of the store's, to a registry. Answers the manifest's digest.
    ///
    /// # Errors
    /// One variant per cause.
    pub async fn push(
        self: &Arc<Self>,
        source: &str,
        target: &str,
        credentials: &Credentials,
        progress: Option<Arc<dyn Progress>>,
    ) -> Result<String, ImageError> {
        let _ = (target, credentials, progress);
        Err(ImageError::NotFound { reference: source.to_owned(), why: "pushing is not built yet".into() })
    }

    /// Removes images whose ids are not `in_use`, and content that no image needs.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub async fn gc(self: &Arc<Self>, in_use: &BTreeSet<String>) -> Result<Removed, ImageError> {
        let _ = in_use;
        Ok(Removed::default())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}
