//! The files of a container's log. The newest has the log's own name; older ones have a rising number behind it
//! (`0.log.7`), so that their order does not depend on a clock.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// When a log goes on in a new file, and how much of it is kept (the kubelet's `containerLogMaxSize` and
/// `containerLogMaxFiles`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Bytes of one file. What a container writes at once stays together, so that a file may have some kB more.
    pub max_bytes: u64,
    /// The newest one included; at least two.
    pub max_files: u32,
}

/// The name of a rotated file of the log at `path`.
pub fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The rotated files of the log at `path` with their numbers, the oldest first.
///
/// # Errors
/// When the log's directory cannot be read.
pub fn rotated(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let entry_name = entry.file_name();
        let number = entry_name.to_str().and_then(|entry| entry.strip_prefix(name)?.strip_prefix('.')?.parse().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort_unstable();
    Ok(found)
}

/// Opens the log, for adding to it.
///
/// # Errors
/// When it cannot be opened, or its directory cannot be made.
pub fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::options().create(true).append(true).open(path)
}

/// Where the file is that is to be the log next.
fn aside(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    aside.into()
}

/// Opens the file that is to be the log next; [`advance`] makes it the log.
///
/// # Errors
/// As for [`open`].
pub fn open_next(path: &Path) -> io::Result<File> {
    open(&aside(path))
}

/// Puts the file of [`open_next`] in the log's place, so that there is one at every moment, and gives the old one a number.
///
/// # Errors
/// When a file cannot be renamed; the log is as before.
pub fn advance(path: &Path) -> io::Result<()> {
    let newest = rotated(path)?.last().map_or(0, |(number, _)| *number);
    match fs::hard_link(path, numbered(path, newest + 1)) {
        // Somebody took the log away.
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    fs::rename(aside(path), path)
}

/// Puts the file of [`open_next`] in the log's place if it has been written to: who opened it ended before [`advance`].
/// Says whether it had been.
///
/// # Errors
/// As for [`advance`].
pub fn settle(path: &Path) -> io::Result<bool> {
    match fs::metadata(aside(path)) {
        Ok(next) if next.len() > 0 => advance(path).map(|()| true),
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        Ok(_) | Err(_) => Ok(false),
    }
}

/// Removes the oldest files beyond `keep`, of which the log itself is one.
///
/// # Errors
/// When one of them stays.
pub fn remove_oldest(path: &Path, keep: u32) -> io::Result<()> {
    let older = rotated(path)?;
    let surplus = (older.len() + 1).saturating_sub(keep as usize);
    let mut removed = Ok(());
    for (_, old) in older.iter().take(surplus) {
        match fs::remove_file(old) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => removed = Err(err),
            _ => {}
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_aside_becomes_the_log_once() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        fs::write(&log, "first\n").unwrap();
        assert!(!settle(&log).unwrap());
        open_next(&log).unwrap();
        assert!(!settle(&log).unwrap(), "nobody wrote to it");
        fs::write(dir.path().join("0.log.new"), "second\n").unwrap();
        assert!(settle(&log).unwrap());
        assert!(!settle(&log).unwrap());
        assert_eq!(fs::read_to_string(&log).unwrap(), "second\n");
        assert_eq!(rotated(&log).unwrap(), [(1, numbered(&log, 1))]);
        assert_eq!(fs::read_to_string(numbered(&log, 1)).unwrap(), "first\n");
    }

    #[test]
    fn rotated_files_are_found_in_the_order_of_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        for name in ["0.log", "0.log.10", "0.log.9", "0.log.new", "1.log.3", "10.log.4"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(rotated(&log).unwrap(), [(9, numbered(&log, 9)), (10, numbered(&log, 10))]);
    }
}
