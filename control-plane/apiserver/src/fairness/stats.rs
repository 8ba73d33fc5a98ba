//! What is counted of each flow schema.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::level::Refusal;

/// Upper bounds of the histograms, in seconds; one more bucket holds the rest.
pub(super) const BOUNDS: [f64; 15] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0];

#[derive(Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts up to each bound and beyond all of them, and the sum in seconds.
    pub(super) fn read(&self) -> (Vec<u64>, f64) {
        let mut total = 0;
        let counts = self.buckets.iter().map(|bucket| {
            total += bucket.load(Ordering::Relaxed);
            total
        });
        (counts.collect(), self.micros.load(Ordering::Relaxed) as f64 / 1e6)
    }
}

#[derive(Default)]
pub(super) struct Stats {
    pub(super) dispatched: AtomicU64,
    pub(super) finished: AtomicU64,
    pub(super) queue_full: AtomicU64,
    pub(super) concurrency_limit: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) waited: Histogram,
    pub(super) waited_in_vain: Histogram,
    pub(super) ran: Histogram,
}

impl Stats {
    pub(super) fn dispatched(&self, waited: Duration) {
        self.dispatched.fetch_add(1, Ordering::Relaxed);
        self.waited.observe(waited);
    }

    pub(super) fn finished(&self, ran: Duration) {
        self.finished.fetch_add(1, Ordering::Relaxed);
        self.ran.observe(ran);
    }

    pub(super) fn refused(&self, why: Refusal, waited: Duration) {
        let counter = match why {
            Refusal::QueueFull => &self.queue_full,
            Refusal::ConcurrencyLimit => &self.concurrency_limit,
            Refusal::TimeOut => &self.timed_out,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.waited_in_vain.observe(waited);
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
