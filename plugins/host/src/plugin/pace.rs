//! Whether a plugin is quick, so that it may be called where others wait.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// After a slow call, so many quick ones until the plugin counts as quick again.
const PENANCE: u32 = 64;

#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Quick calls that are still missing.
    missing: AtomicU32,
}

impl Pace {
    pub(crate) fn is_quick(&self) -> bool {
        self.missing.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn was_slow(&self) {
        self.missing.store(PENANCE, Ordering::Relaxed);
    }

    /// Notes a call that had all the time it wanted: half of `brief` is quick.
    pub(crate) fn took(&self, time: Duration, brief: Duration) {
        if time > brief / 2 {
            self.was_slow();
        } else if !self.is_quick() {
            // Another call may have been slow meanwhile: then this one counts for that.
            let _ = self.missing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |missing| missing.checked_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_quick_until_it_is_slow_and_again_after_many_quick_calls() {
        let (pace, brief) = (Pace::default(), Duration::from_millis(4));
        pace.took(Duration::from_millis(1), brief);
        assert!(pace.is_quick());
        pace.took(Duration::from_millis(3), brief);
        for _ in 0..PENANCE {
            assert!(!pace.is_quick());
            pace.took(Duration::from_millis(1), brief);
        }
        assert!(pace.is_quick());
    }
}
