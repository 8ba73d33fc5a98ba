//! Lets the logs of Wasm pods go on in new files. A host may open none: it is handed the next one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mizzen_shim_protocol::{Call, LogLimits, logs};
use tokio::task::{Id, JoinSet};

use super::WasmRuntime;
use super::entry::Entry;
use crate::RuntimeError;

/// Until nobody uses the runtime any more.
pub(super) async fn run(runtime: Weak<WasmRuntime>, every: Duration) {
    // A host that hangs holds up the logs of its own containers, and no others.
    let (mut rotations, mut under_way) = (JoinSet::new(), HashMap::<Id, String>::new());
    loop {
        tokio::time::sleep(every).await;
        let Some(runtime) = runtime.upgrade() else { return };
        while let Some(ended) = rotations.try_join_next_with_id() {
            let id = match ended {
                Ok((id, ())) => id,
                Err(panicked) => panicked.id(),
            };
            under_way.remove(&id);
        }
        let entries: Vec<Arc<Entry>> = runtime.entries.lock().values().cloned().collect();
        for entry in entries {
            let (path, Some(limits)) = entry.log() else { continue };
            if under_way.values().any(|id| id == entry.id()) {
                continue;
            }
            if entry.has_exited() {
                settle(entry.id(), path);
            } else if is_full(path, limits) {
                let (id, runtime) = (entry.id().to_owned(), Arc::clone(&runtime));
                let rotation = rotations.spawn(async move {
                    let (path, _) = entry.log();
                    if let Err(error) = runtime.rotate(&entry, path, limits).await {
                        tracing::warn!(container = entry.id(), %error, "its log goes on in the file that it has");
                    }
                });
                under_way.insert(rotation.id(), id);
            }
        }
    }
}

fn is_full(path: &Path, limits: LogLimits) -> bool {
    std::fs::metadata(path).is_ok_and(|log| log.len() >= limits.max_bytes)
}

/// A container that has ended writes no more: what it wrote last belongs into its log.
pub(super) fn settle(container: &str, log: &Path) {
    match logs::settle(log) {
        Ok(false) => {}
        Ok(true) => tracing::debug!(container, "its log went on aside when it ended"),
        Err(error) => tracing::warn!(container, %error, "the end of its log stays aside"),
    }
}

impl WasmRuntime {
    async fn rotate(&self, entry: &Entry, path: &Path, limits: LogLimits) -> Result<(), RuntimeError> {
        let io = |source| RuntimeError::Io { operation: "rotate the log of", id: entry.id().to_owned(), source };
        let next = logs::open_next(path).map_err(io)?;
        // First the writer: who reads the log looks no more at a file that has another in its place.
        if self.ask_running(entry.id(), Call::ReopenLog, &[next]).await?.is_some() {
            logs::advance(path).map_err(io)?;
            logs::remove_oldest(path, limits.max_files).map_err(io)?;
        }
        Ok(())
    }
}
