//! One at a time for each key.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::digest::Digest;

/// Whoever comes second waits, and then finds what the first one made.
#[derive(Default)]
pub(crate) struct Keyed {
    locks: Mutex<HashMap<Digest, Arc<AsyncMutex<()>>>>,
}

impl Keyed {
    pub(crate) async fn lock(&self, key: &Digest) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock();
            // Nobody holds or waits for those that only the map knows.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(key.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }
}
