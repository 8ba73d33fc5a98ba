//! Starting a shim, from a copy that no upgrade replaces.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mizzen_shim_protocol::StartReply;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::directory::Directory;

const NAME: &str = "mizzen-shim";

/// Longer than the shim's own limit for a start.
const LIMIT: Duration = Duration::from_secs(70);

/// Copies the shim into `root` under its digest, where it is not yet, and answers where it is.
pub(super) fn keep_copy(shim: &Path, root: &Path) -> io::Result<PathBuf> {
    let copies = root.join("shim");
    fs::create_dir_all(&copies)?;
    // A file that was copied before and has not changed since need not be read again.
    let source = fs::metadata(shim)?;
    let seen = copies.join(format!("seen-{}-{}-{}-{}", source.dev(), source.ino(), source.size(), source.mtime_nsec()));
    if let Ok(copy) = fs::read_link(&seen).map(|digest| copies.join(digest).join(NAME))
        && copy.exists()
    {
        return Ok(copy);
    }
    let bytes = fs::read(shim)?;
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let copy = copies.join(&digest).join(NAME);
    if !copy.exists() {
        fs::create_dir_all(copies.join(&digest))?;
        let temporary = copies.join(&digest).join(format!("new-{}", std::process::id()));
        fs::write(&temporary, bytes)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755))?;
        fs::rename(&temporary, &copy)?;
    }
    match symlink(&digest, &seen) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err),
        _ => Ok(copy),
    }
}

/// Starts a shim in a prepared directory and waits for what became of its container. The lock passes to the shim.
pub(super) async fn launch(shim: &Path, directory: &Directory, lock: File) -> io::Result<StartReply> {
    let log = File::create(directory.path().join("shim.log"))?;
    let mut child = Command::new(shim)
        .arg("run")
        .arg(directory.path())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(lock))
        .stdout(Stdio::piped())
        .stderr(Stdio::from(log))
        .spawn()?;
    let mut answer = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        match tokio::time::timeout(LIMIT, stdout.read_to_end(&mut answer)).await {
            Ok(read) => drop(read?),
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "the shim does not answer")),
        }
    }
    // It goes on in a child of its own; this one has only to be reaped.
    child.wait().await?;
    serde_json::from_slice(&answer)
        .map_err(|_| io::Error::other(format!("the shim ended without an answer: {}", directory.complaints())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_shim_is_copied_anew_and_the_old_copy_stays() {
        let dir = tempfile::tempdir().unwrap();
        let shim = dir.path().join("mizzen-shim");
        fs::write(&shim, "one").unwrap();
        let first = keep_copy(&shim, dir.path()).unwrap();
        assert_eq!(keep_copy(&shim, dir.path()).unwrap(), first);
        fs::remove_file(&shim).unwrap();
        fs::write(&shim, "second").unwrap();
        let second = keep_copy(&shim, dir.path()).unwrap();
        assert_eq!(fs::read(&first).unwrap(), b"one");
        assert_eq!(fs::read(&second).unwrap(), b"second");
    }
}
