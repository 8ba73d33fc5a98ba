//! Copies of the executables that outlive the agent, which no upgrade replaces.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// An executable under its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) path: PathBuf,
    /// Hexadecimal.
    pub(crate) digest: String,
}

/// Copies the executable into a folder of its digest below `copies`, where it is not yet, and answers where it is.
pub(crate) fn keep_copy(executable: &Path, copies: &Path) -> io::Result<Copy> {
    let name = executable.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(copies)?;
    // A file that was copied before and has not changed since need not be read again.
    let source = fs::metadata(executable)?;
    let seen = copies.join(format!("seen-{}-{}-{}-{}", source.dev(), source.ino(), source.size(), source.mtime_nsec()));
    if let Ok(digest) = fs::read_link(&seen) {
        let path = copies.join(&digest).join(name);
        if path.exists() {
            return Ok(Copy { path, digest: digest.to_string_lossy().into_owned() });
        }
    }
    let bytes = fs::read(executable)?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let path = copies.join(&digest).join(name);
    if !path.exists() {
        fs::create_dir_all(copies.join(&digest))?;
        let temporary = copies.join(&digest).join(format!("new-{}", std::process::id()));
        fs::write(&temporary, bytes)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755))?;
        fs::rename(&temporary, &path)?;
    }
    match symlink(&digest, &seen) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err),
        _ => Ok(Copy { path, digest }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_executable_is_copied_anew_and_the_old_copy_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (shim, copies) = (dir.path().join("mizzen-shim"), dir.path().join("copies"));
        fs::write(&shim, "one").unwrap();
        let first = keep_copy(&shim, &copies).unwrap();
        assert_eq!(keep_copy(&shim, &copies).unwrap(), first);
        fs::remove_file(&shim).unwrap();
        fs::write(&shim, "second").unwrap();
        let second = keep_copy(&shim, &copies).unwrap();
        assert_eq!(fs::read(&first.path).unwrap(), b"one");
        assert_eq!(fs::read(&second.path).unwrap(), b"second");
        assert_ne!(first.digest, second.digest);
    }
}
