//! A store that lives and dies with its process: the state machine alone, for tests and simulation.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::Object;
use parking_lot::Mutex;

use crate::served::Served;
use crate::state::Saved;
use crate::{Range, RangeOptions, Store, StoreError, Txn, TxnOutcome, Watch};

/// How much history a store keeps in memory unless told otherwise.
pub const HISTORY_BYTES: usize = 16 << 20;

pub struct MemoryStore {
    served: Arc<Served>,
    /// Transactions apply one at a time.
    writer: Mutex<()>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(HISTORY_BYTES)
    }
}

impl MemoryStore {
    /// An empty store that keeps so many bytes of history.
    pub fn new(history_bytes: usize) -> Self {
        Self { served: Served::new(Saved::default(), history_bytes, None), writer: Mutex::default() }
    }

    /// Ends all watches; later transactions fail.
    pub fn close(&self) {
        self.served.close();
    }

    fn open(&self) -> Result<(), StoreError> {
        match self.served.is_closed() {
            true => Err(StoreError::Unavailable { why: "the store is closed".into() }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        self.open()?;
        let _writing = self.writer.lock();
        let outcome = self.served.apply(std::slice::from_ref(&txn)).pop().map(|(outcome, _)| outcome);
        outcome.ok_or_else(|| StoreError::Unavailable { why: "the transaction gave no outcome".into() })
    }

    async fn barrier(&self) -> Result<(), StoreError> {
        self.open()
    }

    fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.served.get(key)
    }

    fn range(&self, prefix: &str, options: &RangeOptions) -> Result<Range, StoreError> {
        self.served.range(prefix, options)
    }

    fn watch(&self, prefix: &str, after: u64) -> Result<Box<dyn Watch>, StoreError> {
        self.served.watch(prefix, after)
    }

    fn revision(&self) -> u64 {
        self.served.revision()
    }

    async fn compact(&self, revision: u64) -> Result<(), StoreError> {
        self.open()?;
        self.served.compact(revision);
        Ok(())
    }
}
