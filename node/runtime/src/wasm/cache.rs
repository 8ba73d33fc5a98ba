//! Compiled programs, each under its digest and the engine it is for, and authenticated with a key that only root reads.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

type Mac = [u8; 32];

/// SHA-256 takes this many bytes at a time (FIPS 180-4).
const BLOCK: usize = 64;

/// What tells whether a file is still the one that was authenticated.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

pub(super) struct Cache {
    directory: PathBuf,
    executable: PathBuf,
    fingerprint: String,
    key: Mac,
    seen: Mutex<HashMap<PathBuf, Seen>>,
    /// One compilation at a time: it takes every processor there is.
    compiling: tokio::sync::Mutex<()>,
}

impl Cache {
    /// `original` is what the `executable` is a copy of: a copy that was written a moment ago cannot be run while a child
    /// that some other thread forked meanwhile still has it open for writing.
    ///
    /// # Errors
    /// When the directory is not writable or the executable cannot be run.
    pub(super) fn open(directory: PathBuf, original: &Path, executable: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let output = std::process::Command::new(original).arg("fingerprint").env_clear().output()?;
        let fingerprint = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || fingerprint.is_empty() {
            return Err(io::Error::other(format!("{} fingerprint: {}", original.display(), output.status)));
        }
        let key = key(&directory.join("key"))?;
        Ok(Self { directory, executable, fingerprint, key, seen: Mutex::default(), compiling: Default::default() })
    }

    /// The compiled program of `digest`, which is compiled from `source` where it is not there or not genuine.
    ///
    /// # Errors
    /// What a person must know who chose the image.
    pub(super) async fn get(&self, digest: &str, source: &Path) -> Result<File, String> {
        let io = |err: io::Error| format!("the compiled program of {digest}: {err}");
        if let Some(file) = self.find(digest).map_err(io)? {
            return Ok(file);
        }
        let _alone = self.compiling.lock().await;
        if let Some(file) = self.find(digest).map_err(io)? {
            return Ok(file);
        }
        let artifact = self.compile(source).await?;
        self.keep(digest, &artifact).map_err(io)?;
        self.find(digest).map_err(io)?.ok_or_else(|| format!("the compiled program of {digest} cannot be kept"))
    }

    fn path(&self, digest: &str) -> PathBuf {
        let name: String = Sha256::digest(digest).iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{name}-{}", self.fingerprint))
    }

    fn find(&self, digest: &str) -> io::Result<Option<File>> {
        let path = self.path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err),
        };
        let metadata = file.metadata()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let seen = Seen { inode: metadata.ino(), size: metadata.size(), changed };
        if self.seen.lock().get(&path) == Some(&seen) {
            return Ok(Some(file));
        }
        let mut artifact = Vec::new();
        file.read_to_end(&mut artifact)?;
        let written = fs::read(path.with_extension("mac")).unwrap_or_default();
        if !equal(&written, &self.mac(digest, &artifact)) {
            tracing::warn!(path = %path.display(), "a compiled program is not genuine; it is compiled again");
            return Ok(None);
        }
        self.seen.lock().insert(path.clone(), seen);
        File::open(path).map(Some)
    }

    async fn compile(&self, source: &Path) -> Result<Vec<u8>, String> {
        let failed = |err: io::Error| format!("compile {}: {err}", source.display());
        let module = File::open(source).map_err(failed)?;
        let mut command = tokio::process::Command::new(&self.executable);
        command.arg("compile").env_clear().current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::from(module)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().await.map_err(failed)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let complaints = String::from_utf8_lossy(&output.stderr);
        match complaints.trim() {
            "" => Err(format!("the image cannot be compiled: the compiler ended with {}", output.status)),
            why => Err(format!("the image cannot be compiled: {why}")),
        }
    }

    fn keep(&self, digest: &str, artifact: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        write(&path.with_extension("mac"), &self.mac(digest, artifact))?;
        write(&path, artifact)
    }

    /// Over the name too, so that no file can take another's place.
    fn mac(&self, digest: &str, artifact: &[u8]) -> Mac {
        hmac(&self.key, &[self.path(digest).as_os_str().as_encoded_bytes(), b"\0", artifact])
    }
}

/// HMAC-SHA256 (RFC 2104) with a key of the hash's length.
fn hmac(key: &Mac, parts: &[&[u8]]) -> Mac {
    let pad = |byte: u8| {
        let mut block = [byte; BLOCK];
        block.iter_mut().zip(key).for_each(|(block, key)| *block ^= key);
        block
    };
    let mut inner = Sha256::new_with_prefix(pad(0x36));
    parts.iter().for_each(|part| inner.update(part));
    Sha256::new_with_prefix(pad(0x5c)).chain_update(inner.finalize()).finalize().into()
}

/// Takes as long wherever they differ.
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |differ, (left, right)| differ | (left ^ right)) == 0
}

fn key(path: &Path) -> io::Result<Mac> {
    if let Ok(key) = fs::read(path).map(Mac::try_from)
        && let Ok(key) = key
    {
        return Ok(key);
    }
    let mut key = Mac::default();
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    write(path, &key)?;
    Ok(key)
}

/// Whole or not at all, and for root alone.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_that_of_the_standard() {
        // RFC 4231, test case 1, its key filled up with zeros as the standard does.
        let mut key = Mac::default();
        key[..20].fill(0x0b);
        let mac: String = hmac(&key, &[b"Hi ", b"There"]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(mac, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn a_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert_eq!(key(&path).unwrap(), key(&path).unwrap());
    }
}
