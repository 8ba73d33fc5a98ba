//! Following the objects under a prefix of the store, where there are few and what is there now decides.

use std::sync::Arc;
use std::time::Duration;

use mizzen_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

/// Between two tries to follow a store that fails.
const RETRY: Duration = Duration::from_millis(250);

/// Calls `load`, which takes over everything and gives its revision, after every change behind `revision` until `shutdown`.
pub(crate) async fn run(
    store: Arc<dyn Store>,
    prefix: String,
    mut revision: u64,
    shutdown: CancellationToken,
    load: impl Fn() -> u64 + Send,
) {
    let follow = async {
        loop {
            match changes(&*store, &prefix, revision, &load).await {
                StoreError::Compacted { .. } => {}
                error => {
                    tracing::debug!(%error, prefix, "following objects of the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
            revision = load();
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = follow => {}
    }
}

async fn changes(store: &dyn Store, prefix: &str, revision: u64, load: &impl Fn() -> u64) -> StoreError {
    let mut watch = match store.watch(prefix, revision) {
        Ok(watch) => watch,
        Err(error) => return error,
    };
    loop {
        match watch.next().await {
            Ok(_) => drop(load()),
            Err(error) => return error,
        }
    }
}
