//! Following the policies, bindings and webhooks in the store.

use std::sync::Arc;
use std::time::Duration;

use mizzen_store::{RangeOptions, StoreError};
use tokio_util::sync::CancellationToken;

use super::{Dynamic, GROUP};

/// Between two tries to follow a store that fails.
const RETRY: Duration = Duration::from_millis(250);

fn prefix() -> String {
    format!("/registry/{GROUP}/")
}

impl Dynamic {
    /// Takes over what the store has. Returns the revision that it is of.
    pub(super) fn load(&self) -> u64 {
        let prefix = prefix();
        let mut entries = self.entries.lock();
        match self.store.range(&prefix, &RangeOptions::default()) {
            Ok(range) => {
                let items = range.items.iter().map(|(key, object)| (key.strip_prefix(&prefix).unwrap_or(key), object.as_ref()));
                if entries.take(items) {
                    self.snapshot.store(Arc::new(entries.snapshot()));
                }
                range.revision
            }
            Err(error) => {
                tracing::error!(%error, "read the admission policies and webhooks");
                self.store.revision()
            }
        }
    }
}

pub(super) async fn run(dynamic: Arc<Dynamic>, revision: u64, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = follow(&dynamic, revision) => {}
    }
}

async fn follow(dynamic: &Dynamic, mut revision: u64) {
    loop {
        match changes(dynamic, revision).await {
            StoreError::Compacted { .. } => {}
            error => {
                tracing::debug!(%error, "following the admission policies and webhooks");
                tokio::time::sleep(RETRY).await;
            }
        }
        revision = dynamic.load();
    }
}

/// Takes over every change after `revision`, until following fails.
async fn changes(dynamic: &Dynamic, revision: u64) -> StoreError {
    let mut watch = match dynamic.store.watch(&prefix(), revision) {
        Ok(watch) => watch,
        Err(error) => return error,
    };
    loop {
        match watch.next().await {
            // There are few of these objects, and they seldom change: what is there now decides.
            Ok(_) => drop(dynamic.load()),
            Err(error) => return error,
        }
    }
}
