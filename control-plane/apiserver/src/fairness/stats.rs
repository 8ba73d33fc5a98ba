//! What is counted of each flow schema.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::level::Refusal;
use crate::histogram::Histogram;

/// Upper bounds of the histograms, in seconds.
const BOUNDS: [f64; 15] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0];

pub(super) struct Stats {
    pub(super) dispatched: AtomicU64,
    pub(super) finished: AtomicU64,
    pub(super) queue_full: AtomicU64,
    pub(super) concurrency_limit: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) waited: Histogram<{ BOUNDS.len() }>,
    pub(super) waited_in_vain: Histogram<{ BOUNDS.len() }>,
    pub(super) ran: Histogram<{ BOUNDS.len() }>,
}

impl Default for Stats {
    fn default() -> Self {
        let histogram = || Histogram::new(&BOUNDS);
        Self {
            dispatched: AtomicU64::default(),
            finished: AtomicU64::default(),
            queue_full: AtomicU64::default(),
            concurrency_limit: AtomicU64::default(),
            timed_out: AtomicU64::default(),
            cancelled: AtomicU64::default(),
            waiting: AtomicU64::default(),
            waited: histogram(),
            waited_in_vain: histogram(),
            ran: histogram(),
        }
    }
}

impl Stats {
    pub(super) fn dispatched(&self, waited: Duration) {
        self.dispatched.fetch_add(1, Ordering::Relaxed);
        self.waited.took(waited);
    }

    pub(super) fn finished(&self, ran: Duration) {
        self.finished.fetch_add(1, Ordering::Relaxed);
        self.ran.took(ran);
    }

    pub(super) fn refused(&self, why: Refusal, waited: Duration) {
        let counter = match why {
            Refusal::QueueFull => &self.queue_full,
            Refusal::ConcurrencyLimit => &self.concurrency_limit,
            Refusal::TimeOut => &self.timed_out,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.waited_in_vain.took(waited);
    }
}

/// Counts a request as waiting until it runs, is refused or goes away.
pub(super) struct Wait<'a> {
    stats: &'a Stats,
    answered: bool,
}

impl<'a> Wait<'a> {
    pub(super) fn begin(stats: &'a Stats) -> Self {
        stats.waiting.fetch_add(1, Ordering::Relaxed);
        Self { stats, answered: false }
    }

    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.stats.waiting.fetch_sub(1, Ordering::Relaxed);
        if !self.answered {
            self.stats.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }
}
