//! Lets the logs of Wasm pods go on in new files. A host may open none: it is handed the next one.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mizzen_shim_protocol::{Call, LogLimits, logs};

use super::WasmRuntime;
use super::entry::Entry;
use crate::RuntimeError;

/// Until nobody uses the runtime any more.
pub(super) async fn run(runtime: Weak<WasmRuntime>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(runtime) = runtime.upgrade() else { return };
        let entries: Vec<Arc<Entry>> = runtime.entries.lock().values().cloned().collect();
        for entry in entries {
            let (path, Some(limits)) = entry.log() else { continue };
            if entry.has_exited() || !is_full(path, limits) {
                continue;
            }
            if let Err(error) = runtime.rotate(&entry, path, limits).await {
                tracing::warn!(container = entry.id(), %error, "its log goes on in the file that it has");
            }
        }
    }
}

fn is_full(path: &Path, limits: LogLimits) -> bool {
    std::fs::metadata(path).is_ok_and(|log| log.len() >= limits.max_bytes)
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
