//! To a registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digest;
use crate::manifest::{self, Descriptor, Document, MANIFEST, Manifest};
use crate::registry::Registry;
use crate::store::ImageStore;
use crate::{Credentials, ImageError, Progress, Settings, layout, reference};

/// An image that is whole on this machine.
struct Source<'a> {
    name: &'a str,
    /// The folder of files that are named by their digests.
    blobs: PathBuf,
    document: Vec<u8>,
}

/// Sends an OCI layout folder's only image to a registry. Answers the manifest's digest.
///
/// # Errors
/// One variant per cause.
pub async fn push_layout(
    folder: &Path,
    target: &str,
    credentials: &Credentials,
    progress: Option<Arc<dyn Progress>>,
) -> Result<String, ImageError> {
    let parsed = reference::parse(target)?;
    let (_, descriptor) = layout::only(folder, &parsed.whole())?;
    let document = layout::document(folder, &descriptor)?;
    let name = folder.to_string_lossy();
    let source = Source { name: &name, blobs: folder.join("blobs/sha256"), document };
    send(source, Registry::new(parsed, credentials, &Settings::default()), progress.as_ref()).await
}

/// The same of one of the store's.
pub(crate) async fn push(
    store: &Arc<ImageStore>,
    name: &str,
    target: &str,
    credentials: &Credentials,
    progress: Option<Arc<dyn Progress>>,
) -> Result<String, ImageError> {
    let target = reference::parse(target)?;
    let none = || ImageError::NotFound {
        reference: name.to_owned(),
        why: "it is neither an OCI layout folder nor an image of this node".into(),
    };
    let image = store.get(name).ok_or_else(none)?;
    let digest = image.digest.parse::<Digest>().map_err(|_| none())?;
    let source = Source { name, blobs: store.paths.blobs(), document: store.paths.read(&digest)? };
    let _kept = store.keep_out_gc().await?;
    send(source, Registry::new(target, credentials, &store.settings), progress.as_ref()).await
}

async fn send(source: Source<'_>, registry: Registry, progress: Option<&Arc<dyn Progress>>) -> Result<String, ImageError> {
    let Source { name, blobs, document } = source;
    let wrong = |why: String| ImageError::Manifest { reference: name.to_owned(), why };
    let (manifest, bytes): (Manifest, Vec<u8>) = match manifest::parse(&document).map_err(wrong)? {
        Document::Manifest(manifest) => (manifest, document),
        Document::Index(_) => {
            return Err(wrong("is an index of several platforms; push the image of one".into()));
        }
    };
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        check(&blobs, blob)?;
        registry.push_blob(&blobs.join(blob.digest.hex()), blob, progress).await?;
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
