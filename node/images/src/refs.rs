//! Which reference is which image: a file each, read anew every time, so that several processes may share a store.

use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::ImageError;
use crate::blobs::{Paths, io, remove_file, sync_dir};
use crate::digest::Digest;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ref {
    /// Normalised.
    pub(crate) reference: String,
    pub(crate) manifest: Digest,
    /// The index it was chosen from.
    pub(crate) index: Option<Digest>,
}

fn path(paths: &Paths, reference: &str) -> PathBuf {
    // A reference has slashes and may be longer than a file name can be.
    paths.refs().join(Digest::of(reference.as_bytes()).hex())
}

pub(crate) fn read(paths: &Paths, reference: &str) -> Option<Ref> {
    let text = std::fs::read(path(paths, reference)).ok()?;
    serde_json::from_slice(&text).ok()
}

pub(crate) fn write(paths: &Paths, entry: &Ref) -> Result<(), ImageError> {
    let target = path(paths, &entry.reference);
    let mut file = paths.new_file()?;
    let text = serde_json::to_vec(entry).map_err(|e| io("encode", &target)(e.into()))?;
    file.write_all(&text).map_err(io("write", &target))?;
    file.as_file().sync_all().map_err(io("sync", &target))?;
    file.persist(&target).map_err(|e| io("rename into", &target)(e.error))?;
    sync_dir(&paths.refs())
}

pub(crate) fn remove(paths: &Paths, reference: &str) -> Result<(), ImageError> {
    remove_file(&path(paths, reference))
}

/// When a container last used the image under this name, or it was pulled: the time of the file, so that noting it costs
/// nothing.
pub(crate) fn last_used(paths: &Paths, reference: &str) -> Option<SystemTime> {
    std::fs::metadata(path(paths, reference)).and_then(|metadata| metadata.modified()).ok()
}

/// # Errors
/// When the file is there and its time cannot be set.
pub(crate) fn set_last_used(paths: &Paths, reference: &str, at: SystemTime) -> Result<(), ImageError> {
    let path = path(paths, reference);
    match std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(at)) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io("set the time of", &path)(e)),
        _ => Ok(()),
    }
}

/// In the order of references.
pub(crate) fn list(paths: &Paths) -> Vec<Ref> {
    let entries = std::fs::read_dir(paths.refs()).into_iter().flatten().flatten();
    let read = |entry: std::fs::DirEntry| match std::fs::read(entry.path()) {
        Ok(text) => serde_json::from_slice::<Ref>(&text).ok(),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(path = %entry.path().display(), %error, "image reference is unreadable");
            None
        }
    };
    let mut all: Vec<_> = entries.filter_map(read).collect();
    all.sort_by(|a, b| a.reference.cmp(&b.reference));
    all
}
