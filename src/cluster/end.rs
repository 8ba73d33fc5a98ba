//! How the parts of the process are told to end, and why.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long what was spawned may take to end.
const SETTLE: Duration = Duration::from_secs(5);

/// How the whole process is told to end.
#[derive(Clone, Default)]
pub struct End {
    pub cancel: CancellationToken,
    reason: Arc<OnceLock<String>>,
    tasks: TaskTracker,
}

impl End {
    /// Ends everything, as a failure.
    pub fn because(&self, reason: String) {
        // The first reason is the one that counts.
        let _ = self.reason.set(reason);
        self.cancel.cancel();
    }

    /// Runs a task that ends by itself once all is told to end, and is waited for then.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits a few seconds for what was spawned to end.
    pub async fn settled(&self) {
        self.tasks.close();
        if tokio::time::timeout(SETTLE, self.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in {SETTLE:?}");
        }
    }

    /// Why it ended, if it is a failure.
    pub fn failure(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }
}
