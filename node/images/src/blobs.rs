//! Content by digest, on disk. A file that has its digest's name has its content: it was verified and synced before it got
//! the name.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::ImageError;
use crate::digest::{Digest, Hashing};
use crate::manifest::Descriptor;

pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { operation, path, source }
}

/// The directories of a store.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Of the tar inside, so that two compressions of one layer share it.
    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    pub(crate) fn refs(&self) -> PathBuf {
        self.root.join("refs")
    }

    /// What is not finished; on the same file system, so that renaming is atomic.
    pub(crate) fn unfinished(&self) -> PathBuf {
        self.root.join("unfinished")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.blob(digest).is_file()
    }

    pub(crate) fn new_file(&self) -> Result<NamedTempFile, ImageError> {
        let dir = self.unfinished();
        NamedTempFile::new_in(&dir).map_err(io("create a file in", &dir))
    }

    /// A small blob.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let path = self.blob(digest);
        std::fs::read(&path).map_err(io("read", &path))
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let digest = Digest::of(bytes);
        if !self.has(&digest) {
            let mut file = self.new_file()?;
            std::io::Write::write_all(&mut file, bytes).map_err(io("write", file.path()))?;
            self.keep(file, &digest)?;
        }
        Ok(digest)
    }

    /// Gives verified content its name.
    pub(crate) fn keep(&self, file: NamedTempFile, digest: &Digest) -> Result<(), ImageError> {
        file.as_file().sync_all().map_err(io("sync", file.path()))?;
        let path = self.blob(digest);
        file.persist(&path).map_err(|e| io("rename into", &path)(e.error))?;
        sync_dir(&self.blobs())
    }

    /// Reads the whole blob; one that is no longer what its name says goes.
    pub(crate) fn drop_if_damaged(&self, digest: &Digest) -> Result<(), ImageError> {
        let path = self.blob(digest);
        let mut reader = Hashing::new(File::open(&path).map_err(io("open", &path))?);
        std::io::copy(&mut reader, &mut std::io::sink()).map_err(io("read", &path))?;
        if reader.finish().1 != *digest {
            tracing::warn!(%digest, "a blob was damaged on disk and is removed");
            remove_file(&path)?;
        }
        Ok(())
    }

    /// Copies in content from a folder, verifying it.
    pub(crate) fn copy_in(&self, source: &Path, blob: &Descriptor, what: &str) -> Result<(), ImageError> {
        let file = File::open(source).map_err(io("open", source))?;
        let mut reader = Hashing::new(file.take(blob.size.saturating_add(1)));
        let mut kept = self.new_file()?;
        std::io::copy(&mut reader, &mut kept).map_err(io("copy", source))?;
        let (_, digest, bytes) = reader.finish();
        verify(what, blob, &digest, bytes)?;
        self.keep(kept, &blob.digest)
    }
}

pub(crate) fn verify(what: &str, expected: &Descriptor, digest: &Digest, bytes: u64) -> Result<(), ImageError> {
    if bytes < expected.size {
        return Err(ImageError::Truncated { what: what.to_owned(), why: format!("{bytes} of {} bytes came", expected.size) });
    }
    if *digest != expected.digest {
        let actual = if bytes > expected.size { "more bytes than announced".to_owned() } else { digest.to_string() };
        return Err(ImageError::DigestMismatch { what: what.to_owned(), expected: expected.digest.to_string(), actual });
    }
    Ok(())
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), ImageError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io("sync", dir))
}

pub(crate) fn remove_file(path: &Path) -> Result<(), ImageError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(io("remove", path)(e)),
        _ => Ok(()),
    }
}
