//! The log: one line of JSON for each event, in a file that is set aside when it has its size.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::AuditError;

/// Where events go, and how much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub path: PathBuf,
    /// Bytes, after which a new file is begun.
    pub max_bytes: u64,
    /// Files kept beside the newest; 0 for all.
    pub max_backups: usize,
}

pub(super) struct Log {
    config: LogConfig,
    file: Mutex<Open>,
}

struct Open {
    file: File,
    bytes: u64,
}

impl Log {
    pub(super) fn open(config: LogConfig) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Log { operation: "open", path: config.path.clone(), source };
        if let Some(folder) = config.path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let open = Open::new(&config.path).map_err(failed)?;
        Ok(Self { config, file: Mutex::new(open) })
    }

    /// Appends one event. What cannot be written is said in the server's own log: no request fails for it.
    pub(super) fn write(&self, event: &serde_json::Value, now: jiff::Timestamp) {
        let mut line = event.to_string();
        line.push('\n');
        let mut open = self.file.lock();
        if open.bytes > 0
            && open.bytes + line.len() as u64 > self.config.max_bytes
            && let Err(error) = self.rotate(&mut open, now)
        {
            tracing::error!(%error, path = %self.config.path.display(), "set the audit log aside");
        }
        match open.file.write_all(line.as_bytes()) {
            Ok(()) => open.bytes += line.len() as u64,
            Err(error) => tracing::error!(%error, path = %self.config.path.display(), "write to the audit log"),
        }
    }

    fn rotate(&self, open: &mut Open, now: jiff::Timestamp) -> std::io::Result<()> {
        let path = &self.config.path;
        let (stem, extension) = parts(path);
        // Two of one millisecond must not be one.
        let time = now.strftime("%Y-%m-%dT%H-%M-%S.%3f").to_string();
        let named = |count: u32| match count {
            0 => path.with_file_name(format!("{stem}-{time}{extension}")),
            count => path.with_file_name(format!("{stem}-{time}-{count}{extension}")),
        };
        let free = (0..u32::MAX).map(named).find(|backup| !backup.exists());
        std::fs::rename(path, free.unwrap_or_else(|| named(0)))?;
        *open = Open::new(path)?;
        if self.config.max_backups > 0 {
            let mut backups = backups(path)?;
            backups.sort_unstable();
            for old in backups.iter().rev().skip(self.config.max_backups) {
                std::fs::remove_file(old)?;
            }
        }
        Ok(())
    }
}

impl Open {
    fn new(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

/// Name and extension of a file, with the dot.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = text(path.extension());
    (text(path.file_stem()), if extension.is_empty() { extension } else { format!(".{extension}") })
}

/// The files that were set aside; their names order them by time.
fn backups(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (stem, extension) = parts(path);
    let prefix = format!("{stem}-");
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let time = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(&extension));
        if time.is_some_and(|time| time.len() >= 23 && time.as_bytes()[10] == b'T') {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_full_file_is_set_aside_and_the_oldest_go() {
        let folder = std::env::temp_dir().join(format!("mizzen-audit-{}", uuid::Uuid::new_v4()));
        let path = folder.join("audit.log");
        let log = Log::open(LogConfig { path: path.clone(), max_bytes: 26, max_backups: 2 }).expect("opens");
        std::fs::write(folder.join("audit-other.log"), "kept").expect("is written");
        for number in 0..7 {
            let now = jiff::Timestamp::from_second(number).expect("a time");
            log.write(&json!({"number": number}), now);
        }
        // Two lines fit into a file.
        let lines = |path: &Path| std::fs::read_to_string(path).expect("a file").lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&path), ["{\"number\":6}"]);
        let mut kept = backups(&path).expect("are listed");
        kept.sort();
        assert_eq!(kept.iter().map(|path| lines(path)[0].clone()).collect::<Vec<_>>(), ["{\"number\":2}", "{\"number\":4}"]);
        assert!(folder.join("audit-other.log").exists());
        // It goes on where it was.
        drop(log);
        let log = Log::open(LogConfig { path: path.clone(), max_bytes: 26, max_backups: 2 }).expect("opens");
        log.write(&json!({"number": 7}), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(lines(&path).len(), 2);
        std::fs::remove_dir_all(folder).expect("is removed");
    }
}
