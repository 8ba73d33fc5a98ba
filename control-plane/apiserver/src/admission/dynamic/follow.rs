//! Following the policies, bindings and webhooks in the store.

use std::sync::Arc;

use mizzen_store::RangeOptions;
use tokio_util::sync::CancellationToken;

use super::{Dynamic, GROUP};
use crate::follow;

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
    let store = dynamic.store.clone();
    follow::run(store, prefix(), revision, shutdown, move || dynamic.load()).await;
}
