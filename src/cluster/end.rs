//! How the parts of the process are told to end, and why.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// How the whole process is told to end.
#[derive(Clone, Default)]
pub struct End {
    pub cancel: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl End {
    /// Ends everything, as a failure.
    pub fn because(&self, reason: String) {
        // The first reason is the one that counts.
        let _ = self.reason.set(reason);
        self.cancel.cancel();
    }

    /// Why it ended, if it is a failure.
    pub fn failure(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }
}
