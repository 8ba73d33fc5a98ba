//! What is asked of a store and what it answers.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::Object;
use mizzen_api::object::Encoded;
use serde::{Deserialize, Serialize};

use crate::Batch;

/// Several keys changed together, if all compares hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub puts: Vec<(String, Encoded)>,
    pub deletes: Vec<String>,
}

/// The key's last writing revision must be this; 0 means that the key must not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    pub key: String,
    pub revision: u64,
}

#[derive(Clone, Debug)]
pub enum TxnOutcome {
    /// Applied at `revision`; `objects` are the stored versions of `puts`, in order.
    Applied { revision: u64, objects: Vec<Arc<Object>> },
    /// Nothing was applied: the compare of `key` did not hold; `current` is what is there.
    Conflict { key: String, current: Option<Arc<Object>> },
}

#[derive(Clone, Debug, Default)]
pub struct RangeOptions {
    /// Only keys greater than this one (a continue token's key).
    pub start_after: Option<String>,
    /// At most so many; 0 means all.
    pub limit: usize,
    /// As of this revision; `None` is now.
    pub revision: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct Range {
    pub items: Vec<(Arc<str>, Arc<Object>)>,
    /// The revision that the items are of.
    pub revision: u64,
    /// How many more keys follow after the last item.
    pub remaining: usize,
}

/// One change of one key.
#[derive(Clone, Debug)]
pub struct Event {
    pub key: Arc<str>,
    pub revision: u64,
    /// The new version; for a deletion, `None`.
    pub object: Option<Arc<Object>>,
    /// The version before; `None` for a creation.
    pub previous: Option<Arc<Object>>,
}

/// An open watch.
#[async_trait]
pub trait Watch: Send {
    /// The next batch of changes, at least one, waiting for it if need be. All changes of one revision come in one batch.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when the watcher fell too far behind and must list again;
    /// [`StoreError::Unavailable`] when the store shuts down.
    async fn next(&mut self) -> Result<Arc<Batch>, StoreError>;

    /// All changes up to this revision have been returned by [`Watch::next`] (for bookmarks).
    fn progress(&self) -> u64;
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("revision {asked} was compacted, the oldest kept is {oldest}")]
    Compacted { asked: u64, oldest: u64 },
    #[error("revision {asked} is not yet reached, the newest is {newest}")]
    Future { asked: u64, newest: u64 },
    #[error("the store is unavailable: {why}")]
    Unavailable { why: String },
    #[error("{operation} failed on {file}: {source}")]
    Io {
        operation: &'static str,
        file: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
