//! Exponential backoff, doubling from a base to a cap.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub base: Duration,
    pub cap: Duration,
}

impl Backoff {
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// The wait before the retry that follows `failures` earlier failures (0 for the first).
    pub fn delay(&self, failures: u32) -> Duration {
        self.base.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(self.cap)
    }
}

impl Default for Backoff {
    /// Kubernetes' work queues: 5 ms doubling to 1000 s; here capped at 5 minutes.
    fn default() -> Self {
        Self::new(Duration::from_millis(5), Duration::from_secs(300))
    }
}
