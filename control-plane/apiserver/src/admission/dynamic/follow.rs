//! Following the policies, bindings and webhooks in the store.

use std::sync::Arc;

use mizzen_extensions::plugins;
use mizzen_store::RangeOptions;
use tokio_util::sync::CancellationToken;

use super::{Dynamic, GROUP};
use crate::follow;

fn prefixes() -> [String; 2] {
    [GROUP, plugins::GROUP].map(|group| format!("/registry/{group}/"))
}

impl Dynamic {
    /// Takes over what the store has. Returns the revision that it is of.
    pub(super) fn load(&self) -> u64 {
        let prefixes = prefixes();
        let mut entries = self.entries.lock();
        let read = |prefix: &String| self.store.range(prefix, &RangeOptions::default());
        match prefixes.each_ref().map(read).into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(ranges) => {
                let items = ranges.iter().zip(&prefixes).flat_map(|(range, prefix)| {
                    range.items.iter().map(move |(key, object)| (key.strip_prefix(prefix).unwrap_or(key), object.as_ref()))
                });
                if entries.take(items, self.plugins.as_ref()) {
                    self.snapshot.store(Arc::new(entries.snapshot(self.counted.clone())));
                }
                // Both are of this moment at least; what came between the two is told once more.
                ranges.iter().map(|range| range.revision).min().unwrap_or_default()
            }
            Err(error) => {
                tracing::error!(%error, "read the admission policies and webhooks");
                self.store.revision()
            }
        }
    }
}

pub(super) async fn run(dynamic: Arc<Dynamic>, revision: u64, shutdown: CancellationToken) {
    let store = dynamic.store.clone();
    let follow = |prefix: String| {
        let dynamic = dynamic.clone();
        follow::run(store.clone(), prefix, revision, shutdown.clone(), move || dynamic.load())
    };
    futures::future::join_all(prefixes().map(follow)).await;
}
