//! The data folder: whose it is, and of which format.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::RaftError;

/// Raised whenever older versions could not read what this one writes.
pub(crate) const FORMAT: u32 = 1;
const FILE: &str = "FORMAT";

/// Checks the folder, or makes it one of ours if it is empty or absent.
pub(crate) fn prepare(dir: &Path, node_id: u64) -> Result<(), RaftError> {
    let file = dir.join(FILE);
    let failed = |operation| {
        let file = file.clone();
        move |source| RaftError::File { operation, file, source }
    };
    fs::create_dir_all(dir).map_err(failed("create folder for"))?;
    match fs::read_to_string(&file) {
        Ok(text) => check(dir, &text, node_id),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Data without its format is not ours to guess at.
            if dir.join("log.redb").exists() || dir.join("state.redb").exists() {
                return Err(RaftError::Format { dir: dir.into(), found: "unknown".into(), expected: FORMAT });
            }
            // Written aside and renamed, so that a crash leaves all of it or nothing.
            let aside = dir.join("FORMAT.new");
            let mut new = fs::File::create(&aside).map_err(failed("create"))?;
            write!(new, "format {FORMAT}\nserver {node_id}\n").map_err(failed("write"))?;
            new.sync_all().map_err(failed("sync"))?;
            fs::rename(&aside, &file).map_err(failed("rename"))?;
            sync(dir)
        }
        Err(source) => Err(failed("read")(source)),
    }
}

/// Makes the names of new files in the folder durable.
pub(crate) fn sync(dir: &Path) -> Result<(), RaftError> {
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| RaftError::File { operation: "sync", file: dir.into(), source })
}

fn check(dir: &Path, text: &str, node_id: u64) -> Result<(), RaftError> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let format = field("format ").unwrap_or("unknown");
    if format.parse() != Ok(FORMAT) {
        return Err(RaftError::Format { dir: dir.into(), found: format.into(), expected: FORMAT });
    }
    match field("server ").and_then(|id| id.parse().ok()) {
        Some(found) if found != node_id => Err(RaftError::Node { dir: dir.into(), found, asked: node_id }),
        _ => Ok(()),
    }
}
