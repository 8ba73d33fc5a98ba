//! Multi-version documents: transactions, reads at a revision, and a watch log that resumes.

pub mod archive;
mod batch;
pub mod encryption;
pub mod frozen;
mod memory;
pub mod model;
mod pace;
pub mod persist;
pub mod redb_state;
pub mod retention;
pub mod seal;
pub mod served;
pub mod state;
pub mod testing;
mod topics;
mod watcher;

pub use batch::Batch;
pub use memory::{HISTORY_BYTES, MemoryStore};
pub use model::{Compare, Event, Range, RangeOptions, StoreError, Txn, TxnOutcome, Watch};

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::Object;

/// The store as the API server sees it. Reads are served from memory on this server; writes go through raft.
///
/// Implementors pass `testing::suite`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Applies all of `txn` or nothing, at one new revision. Returns after it is durable and visible to reads here.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no leader can be reached or the store is shutting down: the transaction may or
    /// may not have been applied.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError>;

    /// Returns once every write acknowledged before the call is visible to reads on this server.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no leader confirms the read index.
    async fn barrier(&self) -> Result<(), StoreError>;

    /// The present version of a key.
    fn get(&self, key: &str) -> Option<Arc<Object>>;

    /// Keys with a prefix, in order.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when `options.revision` is no longer kept, [`StoreError::Future`] when it is not yet reached.
    fn range(&self, prefix: &str, options: &RangeOptions) -> Result<Range, StoreError>;

    /// Changes under a prefix after `after` (exclusive), past and future, each once and in order.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when changes after `after` are no longer all kept.
    fn watch(&self, prefix: &str, after: u64) -> Result<Box<dyn Watch>, StoreError>;

    /// Whether this version of a key is written to disk in another way than it would be now: then writing it again is no
    /// empty change.
    fn is_stale(&self, _key: &str, _revision: u64) -> bool {
        false
    }

    /// The revision of the newest applied transaction.
    fn revision(&self) -> u64;

    /// Forgets versions that were replaced at or before `revision`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] as for [`Store::txn`].
    async fn compact(&self, revision: u64) -> Result<(), StoreError>;
}
