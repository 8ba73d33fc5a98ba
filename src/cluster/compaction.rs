//! Forgets history that no watch or list will ask for any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mizzen_raft::RaftStore;
use mizzen_store::Store;
use mizzen_store::retention::{AutoCompaction, Retention};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(30);

/// Compacts as the retention says until `cancel`, on the leader only: the others follow through the log.
pub async fn run(store: Arc<RaftStore>, cancel: CancellationToken) {
    let mut auto = AutoCompaction::new(Retention::default());
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if !store.is_leader() {
            continue;
        }
        if let Some(revision) = auto.sample(Instant::now(), store.revision(), store.history_written())
            && let Err(error) = store.compact(revision).await
        {
            tracing::warn!(%error, revision, "history was not compacted, trying again");
        }
    }
}
