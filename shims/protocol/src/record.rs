//! Files that are there whole or not at all: how agent and shims write what they leave for each other.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes `value` as JSON so that a reader, also after a crash of this process, sees the old file or the new one.
///
/// Not synced: these files tell of processes, which do not outlive the machine's next boot. After a power cut a reader may
/// find one empty, and takes it for one that was never written.
///
/// # Errors
/// When the directory is not writable.
pub fn write_atomically<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, serde_json::to_vec(value)?)?;
    fs::rename(&temporary, path)
}

/// Reads what was written so; `None` when there is no such file.
///
/// # Errors
/// When it cannot be read, or is no such value: [`io::ErrorKind::InvalidData`], or [`io::ErrorKind::UnexpectedEof`] for one
/// that a power cut left empty.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_replaces_the_older_one_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit.json");
        write_atomically(&path, &1).unwrap();
        write_atomically(&path, &2).unwrap();
        assert_eq!(read::<u32>(&path).unwrap(), Some(2));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::write(&path, "").unwrap();
        assert_eq!(read::<u32>(&path).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        fs::remove_file(&path).unwrap();
        assert_eq!(read::<u32>(&path).unwrap(), None);
    }
}
