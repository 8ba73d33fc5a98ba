//! Bringing an image's content into the store, from a registry or a folder.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{StreamExt as _, TryStreamExt as _};

use crate::digest::Digest;
use crate::load::{self, Plan};
use crate::manifest::{self, Descriptor, Document};
use crate::refs::{self, Ref};
use crate::registry::Registry;
use crate::store::ImageStore;
use crate::{Image, ImageError, Progress, unpack};

/// A config beyond this is refused.
const LONGEST_CONFIG: u64 = 8 << 20;

/// Where blobs come from.
pub(crate) enum Source {
    Registry(Box<Registry>),
    /// An OCI layout's `blobs/sha256`.
    Folder(PathBuf),
}

/// Runs what blocks off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ImageError::Worker)?
}

impl Source {
    async fn document(&self, digest: &Digest) -> Result<Bytes, ImageError> {
        match self {
            Self::Registry(registry) => registry.manifest(Some(digest)).await,
            Self::Folder(dir) => {
                let path = dir.join(digest.hex());
                let bytes = std::fs::read(&path).map_err(crate::blobs::io("read", &path))?;
                let actual = Digest::of(&bytes);
                if actual != *digest {
                    let (expected, actual) = (digest.to_string(), actual.to_string());
                    return Err(ImageError::DigestMismatch { what: path.display().to_string(), expected, actual });
                }
                Ok(bytes.into())
            }
        }
    }
}

/// One image on its way in.
pub(crate) struct Install<'a> {
    pub(crate) store: &'a Arc<ImageStore>,
    pub(crate) source: Source,
    /// Normalised.
    pub(crate) reference: String,
    pub(crate) progress: Option<Arc<dyn Progress>>,
}

impl Install<'_> {
    fn wrong(&self, why: String) -> ImageError {
        ImageError::Manifest { reference: self.reference.clone(), why }
    }

    /// From the document that the reference names to an image that can be run.
    pub(crate) async fn run(&self, document: Bytes) -> Result<Arc<Image>, ImageError> {
        let _kept = self.store.keep_out_gc().await?;
        let (bytes, manifest, index) = match manifest::parse(&document).map_err(|why| self.wrong(why))? {
            Document::Manifest(manifest) => (document, manifest, None),
            Document::Index(index) => {
                let chosen = manifest::choose(&index).ok_or_else(|| ImageError::Platform {
                    reference: self.reference.clone(),
                    offered: manifest::platforms(&index),
                    wanted: format!("linux/{}", manifest::architecture()),
                })?;
                let bytes = self.source.document(&chosen.digest).await?;
                match manifest::parse(&bytes).map_err(|why| self.wrong(why))? {
                    Document::Manifest(manifest) => (bytes, manifest, Some(Digest::of(&document))),
                    Document::Index(_) => return Err(self.wrong("is an index of indexes".into())),
                }
            }
        };
        if manifest.config.size > LONGEST_CONFIG {
            return Err(self.wrong(format!("its config has {} bytes, more than {LONGEST_CONFIG}", manifest.config.size)));
        }
        self.blob(&manifest.config).await?;
        let config = self.store.paths.read(&manifest.config.digest)?;
        match load::plan(&self.reference, &manifest, &config)? {
            Plan::Wasm(module) => self.blob(&module).await?,
            Plan::Layers { layers, .. } => self.layers(layers).await?,
        }
        let store = self.store.clone();
        let reference = self.reference.clone();
        blocking(move || {
            let manifest = store.paths.write(&bytes)?;
            let entry = Ref { reference, manifest, index };
            // Whether it can be run is known before the reference leads to it.
            let image = Arc::new(load::load(&store.paths, &entry)?);
            store.name(&entry)?;
            Ok(image)
        })
        .await
    }

    async fn layers(&self, layers: Vec<(Descriptor, Digest)>) -> Result<(), ImageError> {
        let parallel = self.store.settings.parallel.max(1);
        futures::stream::iter(layers)
            .map(|(blob, diff_id)| async move {
                let unpacked = self.store.paths.layer(&diff_id).is_dir();
                if !(unpacked && self.store.paths.has(&blob.digest)) {
                    self.blob(&blob).await?;
                } else if let Some(progress) = &self.progress {
                    progress.exists(&blob.digest.to_string());
                }
                self.unpack(blob.digest, diff_id).await
            })
            .buffer_unordered(parallel)
            .try_collect()
            .await
    }

    async fn blob(&self, blob: &Descriptor) -> Result<(), ImageError> {
        let limit = self.store.settings.layer_bytes;
        if blob.size > limit {
            return Err(ImageError::TooLarge { layer: blob.digest.to_string(), what: "its announced size", limit });
        }
        let _turn = self.store.transfers.lock(&blob.digest).await;
        if self.store.paths.has(&blob.digest) {
            if let Some(progress) = &self.progress {
                progress.exists(&blob.digest.to_string());
            }
            return Ok(());
        }
        match &self.source {
            Source::Registry(registry) => registry.blob(&self.store.paths, blob, self.progress.as_ref()).await,
            Source::Folder(dir) => {
                let (paths, path, blob) = (self.store.paths.clone(), dir.join(blob.digest.hex()), blob.clone());
                blocking(move || paths.copy_in(&path, &blob, &path.display().to_string())).await
            }
        }
    }

    async fn unpack(&self, blob: Digest, diff_id: Digest) -> Result<(), ImageError> {
        let _turn = self.store.unpacking.lock(&diff_id).await;
        let tell = |done| {
            if let Some(progress) = &self.progress {
                progress.unpacking(&blob.to_string(), done);
            }
        };
        tell(false);
        let store = self.store.clone();
        let layer = blob.clone();
        blocking(move || {
            let done = unpack::unpack(&store.paths, &store.settings, &layer, &diff_id);
            if done.is_err() {
                // A blob that went bad on the disk would fail every pull from now on.
                store.paths.drop_if_damaged(&layer)?;
            }
            done
        })
        .await?;
        tell(true);
        Ok(())
    }
}

impl ImageStore {
    /// Lets a reference lead to an image. The image that it led to keeps a name by its digest, so that its containers'
    /// content stays known.
    fn name(&self, entry: &Ref) -> Result<(), ImageError> {
        if let Some(before) = refs::read(&self.paths, &entry.reference)
            && before.manifest != entry.manifest
        {
            let parsed = crate::reference::parse(&before.reference)?;
            let reference = format!("{}/{}@{}", parsed.registry(), parsed.repository(), before.manifest);
            if refs::read(&self.paths, &reference).is_none() {
                refs::write(&self.paths, &Ref { reference, ..before })?;
            }
        }
        refs::write(&self.paths, entry)
    }
}
