//! To a registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digest;
use crate::manifest::{self, Descriptor, Document, MANIFEST, Manifest};
use crate::registry::Registry;
use crate::store::ImageStore;
use crate::{Credentials, ImageError, Progress, layout, reference};

pub(crate) async fn push(
    store: &Arc<ImageStore>,
    source: &str,
    target: &str,
    credentials: &Credentials,
    progress: Option<Arc<dyn Progress>>,
) -> Result<String, ImageError> {
    let target = reference::parse(target)?;
    let folder = Path::new(source);
    let (blobs, document): (PathBuf, Vec<u8>) = if folder.join("index.json").is_file() {
        let (_, descriptor) = layout::only(folder, &target.whole())?;
        (folder.join("blobs/sha256"), layout::document(folder, &descriptor)?)
    } else {
        let none = || ImageError::NotFound {
            reference: source.to_owned(),
            why: "it is neither an OCI layout folder nor an image of this node".into(),
        };
        let image = store.get(source).ok_or_else(none)?;
        let digest = image.digest.parse::<Digest>().map_err(|_| none())?;
        (store.paths.blobs(), store.paths.read(&digest)?)
    };
    let wrong = |why: String| ImageError::Manifest { reference: source.to_owned(), why };
    let _kept = store.keep_out_gc().await?;
    let registry = Registry::new(target, credentials, &store.settings);
    let (manifest, bytes): (Manifest, Vec<u8>) = match manifest::parse(&document).map_err(wrong)? {
        Document::Manifest(manifest) => (manifest, document),
        Document::Index(_) => {
            return Err(wrong("is an index of several platforms; push the image of one".into()));
        }
    };
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        check(&blobs, blob)?;
        registry.push_blob(&blobs.join(blob.digest.hex()), blob, progress.as_ref()).await?;
    }
    let media_type = manifest.media_type.as_deref().unwrap_or(MANIFEST);
    let digest = Digest::of(&bytes);
    registry.push_manifest(bytes.into(), media_type).await?;
    Ok(digest.to_string())
}

/// A folder that lacks a blob is said before anything is sent in vain.
fn check(blobs: &Path, blob: &Descriptor) -> Result<(), ImageError> {
    let path = blobs.join(blob.digest.hex());
    let meta = std::fs::metadata(&path).map_err(crate::blobs::io("look at", &path))?;
    if meta.len() != blob.size {
        let why = format!("{} has {} bytes, its descriptor says {}", path.display(), meta.len(), blob.size);
        return Err(ImageError::Layout { path, why });
    }
    Ok(())
}
