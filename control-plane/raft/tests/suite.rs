//! The suite that every store passes, over raft on disk.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::Object;
use mizzen_raft::{RaftConfig, RaftStore};
use mizzen_store::testing::suite;
use mizzen_store::{Range, RangeOptions, Store, StoreError, Txn, TxnOutcome, Watch};

/// A store and the folder that goes away with it.
struct Scratch {
    store: Arc<RaftStore>,
    _dir: tempfile::TempDir,
}

impl Scratch {
    async fn open(history_bytes: usize) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let config = RaftConfig { history_bytes, ..RaftConfig::new(dir.path(), 1) };
        Self { store: RaftStore::open(config).await.expect("opens"), _dir: dir }
    }
}

#[async_trait]
impl Store for Scratch {
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.store.txn(txn).await
    }
    async fn barrier(&self) -> Result<(), StoreError> {
        self.store.barrier().await
    }
    fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.store.get(key)
    }
    fn range(&self, prefix: &str, options: &RangeOptions) -> Result<Range, StoreError> {
        self.store.range(prefix, options)
    }
    fn watch(&self, prefix: &str, after: u64) -> Result<Box<dyn Watch>, StoreError> {
        self.store.watch(prefix, after)
    }
    fn revision(&self) -> u64 {
        self.store.revision()
    }
    async fn compact(&self, revision: u64) -> Result<(), StoreError> {
        self.store.compact(revision).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_over_raft_passes_the_suite() {
    suite::all(|| Scratch::open(1 << 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_when_memory_holds_no_history_at_all() {
    suite::all(|| Scratch::open(0)).await;
}
