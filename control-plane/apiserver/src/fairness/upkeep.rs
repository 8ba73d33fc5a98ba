//! Keeping the objects of flow control in order: every server does, and all want the same.

use std::sync::Arc;
use std::time::Duration;

use mizzen_client::Client;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Fairness, bootstrap, dangling, follow_prefix};
use crate::auth::Clock;
use crate::follow;

/// Between two looks at the objects of a cluster's start.
const EVERY: Duration = Duration::from_secs(60);
/// After a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Puts right what is not, as `client` (a member of `system:masters`), until `shutdown`.
pub(crate) async fn run(fairness: Arc<Fairness>, client: Arc<dyn Client>, clock: Clock, shutdown: CancellationToken) {
    let changed = Arc::new(Notify::new());
    let (store, revision) = (fairness.store.clone(), fairness.store.revision());
    let newest = store.clone();
    let waker = changed.clone();
    let wake = move || {
        waker.notify_one();
        newest.revision()
    };
    let following = follow::run(store, follow_prefix(), revision, shutdown.clone(), wake);
    let keeping = async {
        let mut ensured = tokio::time::interval(EVERY);
        let mut wait = Duration::ZERO;
        loop {
            tokio::time::sleep(std::mem::replace(&mut wait, Duration::ZERO)).await;
            if let Err(status) = dangling::tell(&*client, clock()).await {
                tracing::warn!(%status, "tell which flow schemas dangle, trying again");
                wait = RETRY;
                continue;
            }
            tokio::select! {
                () = changed.notified() => {}
                _ = ensured.tick() => {
                    if let Err(status) = bootstrap::ensure(&*client).await {
                        tracing::warn!(%status, "put the objects of flow control in place, trying again");
                    }
                }
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = following => {}
        () = keeping => {}
    }
}
