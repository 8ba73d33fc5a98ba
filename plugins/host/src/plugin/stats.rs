//! What a plugin has done, for status and metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::histogram::Histogram;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    Closed,
    Open,
    /// One call finds out whether the plugin works again.
    Probing,
}

/// A moment's view.
#[derive(Clone, Debug)]
pub struct Status {
    /// Calls of the guest, failed ones too.
    pub calls: u64,
    pub errors: u64,
    /// Calls that were not made since the breaker was open.
    pub refused: u64,
    pub p50: Duration,
    pub p99: Duration,
    /// Bytes of linear memory of all instances.
    pub memory: u64,
    pub instances: u64,
    pub breaker: Breaker,
    pub last_error: Option<String>,
}

#[derive(Default)]
pub(crate) struct Stats {
    pub(super) calls: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(crate) times: Histogram,
    pub(crate) memory: AtomicU64,
    pub(crate) instances: AtomicU64,
    pub(super) last_error: Mutex<Option<String>>,
}

impl Stats {
    pub(crate) fn record(&self, took: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.times.record(took);
    }

    pub(crate) fn fail(&self, why: String) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock() = Some(why);
    }

    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn status(&self, breaker: Breaker) -> Status {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Status {
            calls: of(&self.calls),
            errors: of(&self.errors),
            refused: of(&self.refused),
            p50: self.times.percentile(50),
            p99: self.times.percentile(99),
            memory: of(&self.memory),
            instances: of(&self.instances),
            breaker,
            last_error: self.last_error.lock().clone(),
        }
    }
}
