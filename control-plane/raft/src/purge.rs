//! Keeps the log short by bytes; by entries, openraft does it.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::log_store::LogStore;
use crate::types::Raft;

/// Each time the log has `grown`: makes the state durable and purges the log before the entries in memory, which
/// followers that are nearly up to date still need. To be aborted with the store.
pub(crate) async fn run(raft: Raft, log: LogStore, grown: Arc<Notify>) {
    loop {
        grown.notified().await;
        let mut metrics = raft.metrics();
        let applied = metrics.borrow().last_applied;
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
        // A snapshot that was under way already may be an older one: what it leaves goes with the next.
        if metrics.wait_for(|metrics| metrics.snapshot >= applied || metrics.running_state.is_err()).await.is_err() {
            return;
        }
        if let Some(upto) = log.first_cached().and_then(|first| first.checked_sub(1))
            && raft.trigger().purge_log(upto).await.is_err()
        {
            return;
        }
    }
}
