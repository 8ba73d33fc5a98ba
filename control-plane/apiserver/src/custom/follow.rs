//! Following the definitions in the store.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mizzen_store::{RangeOptions, StoreError};
use tokio_util::sync::CancellationToken;

use super::{CustomKinds, Definition};

/// Between two tries to follow a store that fails.
const RETRY: Duration = Duration::from_millis(250);

impl CustomKinds {
    /// Reads all definitions anew and serves them. Returns the revision that they are of.
    pub(super) fn load(&self) -> u64 {
        let prefix = Self::prefix();
        let range = match self.store.range(&prefix, &RangeOptions::default()) {
            Ok(range) => range,
            Err(error) => {
                tracing::error!(%error, "read the custom resource definitions");
                return self.store.revision();
            }
        };
        let known: HashMap<String, u64> =
            self.state.lock().definitions.iter().map(|(name, entry)| (name.clone(), entry.read.revision)).collect();
        let named = range.items.iter().map(|(key, object)| (key.strip_prefix(&prefix).unwrap_or(key), object));
        let present: HashSet<&str> = named.clone().map(|(name, _)| name).collect();
        let news: Vec<(&str, Option<Definition>)> = named
            .filter(|(name, object)| known.get(*name) != Some(&object.revision()))
            .map(|(name, object)| (name, Definition::read(object)))
            .collect();

        let mut state = self.state.lock();
        // What was taken over meanwhile is newer than what was read here.
        if state.seen <= range.revision {
            let mut changed = state.seen == 0;
            for gone in known.keys().filter(|name| !present.contains(name.as_str())) {
                changed |= state.take(gone, None);
            }
            for (name, read) in news {
                changed |= state.take(name, read);
            }
            state.seen = range.revision.max(1);
            if changed {
                self.publish(&state);
            }
        }
        self.looked.fetch_max(range.revision, Ordering::AcqRel);
        range.revision
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
        revision = kinds.load();
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
        let read: Vec<_> = events.iter().map(|event| (event.object.as_deref().and_then(Definition::read), event)).collect();
        let mut state = kinds.state.lock();
        let mut changed = false;
        for (read, event) in read {
            if event.revision <= state.seen {
                continue;
            }
            state.seen = event.revision;
            changed |= state.take(event.key.strip_prefix(&prefix).unwrap_or(&event.key), read);
        }
        if changed {
            kinds.publish(&state);
        }
    }
}
