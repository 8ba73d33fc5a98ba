//! Following the definitions in the store.

use std::sync::Arc;
use std::time::Duration;

use mizzen_store::{RangeOptions, StoreError};
use tokio_util::sync::CancellationToken;

use super::CustomKinds;

/// Between two tries to follow a store that fails.
const RETRY: Duration = Duration::from_millis(250);

impl CustomKinds {
    /// Reads all definitions anew and serves them. Returns the revision that they are of, and whether something changed.
    pub(super) fn load(&self) -> (u64, bool) {
        let prefix = Self::prefix();
        let mut state = self.state.lock();
        let range = match self.store.range(&prefix, &RangeOptions::default()) {
            Ok(range) => range,
            Err(error) => {
                tracing::error!(%error, "read the custom resource definitions");
                return (self.store.revision(), false);
            }
        };
        let present: Vec<&str> = range.items.iter().filter_map(|(key, _)| key.strip_prefix(&prefix)).collect();
        let known: Vec<String> = state.definitions.keys().cloned().collect();
        let mut changed = state.seen == 0;
        for gone in known.iter().filter(|name| !present.contains(&name.as_str())) {
            changed |= state.take(gone, None);
        }
        for (key, object) in &range.items {
            changed |= state.take(key.strip_prefix(&prefix).unwrap_or(key), Some(object));
        }
        state.seen = range.revision.max(1);
        if changed {
            self.publish(&state);
        }
        (range.revision, changed)
    }
}

pub(super) async fn run(kinds: Arc<CustomKinds>, revision: u64, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = follow(&kinds, revision) => {}
    }
}

async fn follow(kinds: &CustomKinds, mut revision: u64) {
    loop {
        match changes(kinds, revision).await {
            StoreError::Compacted { .. } => {}
            error => {
                tracing::debug!(%error, "following the custom resource definitions");
                tokio::time::sleep(RETRY).await;
            }
        }
        (revision, _) = kinds.load();
    }
}

/// Serves every change after `revision`, until following fails.
async fn changes(kinds: &CustomKinds, revision: u64) -> StoreError {
    let prefix = CustomKinds::prefix();
    let mut watch = match kinds.store.watch(&prefix, revision) {
        Ok(watch) => watch,
        Err(error) => return error,
    };
    loop {
        let events = match watch.next().await {
            Ok(events) => events,
            Err(error) => return error,
        };
        let mut state = kinds.state.lock();
        let mut changed = false;
        for event in events {
            if event.revision <= state.seen {
                continue;
            }
            state.seen = event.revision;
            changed |= state.take(event.key.strip_prefix(&prefix).unwrap_or(&event.key), event.object.as_deref());
        }
        if changed {
            kinds.publish(&state);
        }
    }
}
