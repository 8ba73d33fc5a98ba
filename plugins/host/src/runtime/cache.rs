//! Compiled code by digest and engine, each file with a code that only who can read the folder's key could have made.
//!
//! What is loaded is native code in this process: a file that somebody else wrote must never be taken for one's own.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::hmac;
use sha2::{Digest, Sha256};

use crate::error::LoadError;

/// Bytes of the code at the beginning of each file.
const MAC: usize = 32;
/// Files that are kept, those last written.
const MOST: usize = 256;

pub(super) struct Cache {
    directory: PathBuf,
    fingerprint: String,
    key: hmac::Key,
}

impl Cache {
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn open(directory: &Path, fingerprint: &str) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Cache { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let key = key(&directory.join("key")).map_err(failed)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Ok(Self { directory: directory.to_owned(), fingerprint: fingerprint.to_owned(), key })
    }

    /// The code for the digest, if it is there and genuine.
    ///
    /// # Errors
    /// When a file that is there cannot be read.
    pub(super) fn find(&self, digest: &str) -> Result<Option<Vec<u8>>, LoadError> {
        let path = self.path(digest);
        let mut file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::Cache { path, source }),
        };
        let code = file.split_off(MAC.min(file.len()));
        // The name too, so that no file can take another's place.
        if hmac::verify(&self.key, &self.signed(&path, &code), &file).is_err() {
            tracing::warn!(path = %path.display(), "a compiled plugin is not genuine; it is compiled again");
            return Ok(None);
        }
        Ok(Some(code))
    }

    /// Whether there is something for the digest, genuine or not.
    pub(super) fn has(&self, digest: &str) -> bool {
        self.path(digest).exists()
    }

    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, digest: &str, code: &[u8]) -> Result<(), LoadError> {
        let path = self.path(digest);
        let mac = hmac::sign(&self.key, &self.signed(&path, code));
        self.make_room().and_then(|()| write(&path, &[mac.as_ref(), code])).map_err(|source| LoadError::Cache { path, source })
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.directory.join(format!("{}-{}.code", hex::encode(Sha256::digest(digest)), self.fingerprint))
    }

    fn signed(&self, path: &Path, code: &[u8]) -> Vec<u8> {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        // A digest of the code instead of the code, which can be large.
        [name, b"\0", &Sha256::digest(code)].concat()
    }

    /// Removes what was compiled for other engines, and the oldest of too many.
    fn make_room(&self) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let (path, entry) = entry.map(|entry| (entry.path(), entry))?;
            let Some(name) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".code")) else {
                continue;
            };
            if name.ends_with(&self.fingerprint) {
                kept.push((entry.metadata()?.modified()?, path));
            } else {
                fs::remove_file(path)?;
            }
        }
        kept.sort();
        let surplus = (kept.len() + 1).saturating_sub(MOST);
        kept.into_iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

fn key(path: &Path) -> io::Result<[u8; MAC]> {
    if let Ok(key) = fs::read(path).map(<[u8; MAC]>::try_from)
        && let Ok(key) = key
    {
        return Ok(key);
    }
    let mut key = [0; MAC];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    write(path, &[&key])?;
    Ok(key)
}

/// Whole or not at all, and for its owner alone.
fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_until_it_is_altered() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), "engine").unwrap();
        assert!(!cache.has("sha256:a"));
        cache.keep("sha256:a", b"code").unwrap();
        assert!(cache.has("sha256:a"));
        assert_eq!(Cache::open(folder.path(), "engine").unwrap().find("sha256:a").unwrap().as_deref(), Some(&b"code"[..]));
        let path = cache.path("sha256:a");
        let genuine = fs::read(&path).unwrap();
        for at in 0..genuine.len() {
            let mut altered = genuine.clone();
            altered[at] ^= 1;
            fs::write(&path, altered).unwrap();
            assert_eq!(cache.find("sha256:a").unwrap(), None, "byte {at}");
        }
        fs::write(&path, &genuine[..MAC - 1]).unwrap();
        assert_eq!(cache.find("sha256:a").unwrap(), None);
        fs::write(cache.path("sha256:b"), &genuine).unwrap();
        assert_eq!(cache.find("sha256:b").unwrap(), None, "another's code under this name");
    }

    #[test]
    fn code_for_another_engine_is_neither_found_nor_kept() {
        let folder = tempfile::tempdir().unwrap();
        let old = Cache::open(folder.path(), "old").unwrap();
        old.keep("sha256:a", b"code").unwrap();
        let new = Cache::open(folder.path(), "new").unwrap();
        assert_eq!(new.find("sha256:a").unwrap(), None);
        new.keep("sha256:b", b"code").unwrap();
        assert!(!old.path("sha256:a").exists());
        assert_eq!(new.find("sha256:b").unwrap().as_deref(), Some(&b"code"[..]));
    }
}
