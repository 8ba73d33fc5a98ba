//! Why a store could not be opened.

use std::path::PathBuf;

use mizzen_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    #[error("{} holds data of format {found}, this version reads format {expected}", dir.display())]
    Format { dir: PathBuf, found: String, expected: u32 },
    #[error("{} belongs to server {found}, not to server {asked}", dir.display())]
    Node { dir: PathBuf, found: u64, asked: u64 },
    #[error("{operation} failed on {}: {source}", file.display())]
    File {
        operation: &'static str,
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{operation} failed on {}: {source}", file.display())]
    Database {
        operation: &'static str,
        file: PathBuf,
        #[source]
        source: Box<redb::Error>,
    },
    #[error("{operation} failed: {why}")]
    Raft { operation: &'static str, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}
