//! What a plugin may take.

use std::time::Duration;

use mizzen_reconcile::Backoff;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long one call may take, host functions included.
    pub deadline: Duration,
    /// How long an instance may take to get ready.
    pub start: Duration,
    /// Bytes of memory of one instance.
    pub memory: usize,
    /// So many failures one after the other, and the plugin is left alone for a while.
    pub failures: u32,
    /// How long it is left alone the first time, then twice as long, and at most so.
    pub pause: (Duration, Duration),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
            start: Duration::from_secs(10),
            memory: 128 << 20,
            failures: 5,
            pause: (Duration::from_secs(1), Duration::from_secs(300)),
        }
    }
}

impl Limits {
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.pause.0, self.pause.1)
    }
}
