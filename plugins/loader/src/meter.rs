//! How often a plugin is called, and how long it takes, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Four for each doubling: a percentile is at most a fifth too great.
const PER_DOUBLING: u32 = 4;
/// Up to an hour, in nanoseconds.
const BUCKETS: usize = 42 * PER_DOUBLING as usize;

pub(crate) struct Meter {
    buckets: [AtomicU64; BUCKETS],
    errors: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], errors: AtomicU64::new(0) }
    }
}

impl Meter {
    pub(crate) fn note(&self, took: Duration, failed: bool) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        if failed {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// The time that so many of a hundred calls did not exceed, in microseconds, rounded up.
    pub(crate) fn percentile(&self, of_hundred: u64) -> u64 {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let wanted = (counts.iter().sum::<u64>() * of_hundred).div_ceil(100);
        let mut seen = 0;
        for (index, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return highest(index).div_ceil(1000);
            }
        }
        0
    }
}

/// The power of two, and which quarter of it.
fn bucket(nanos: u64) -> usize {
    let power = nanos.max(PER_DOUBLING.into()).ilog2();
    let quarter = (nanos >> (power - 2)) & 3;
    let index = u64::from(power - 2) * u64::from(PER_DOUBLING) + quarter;
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The greatest that falls into a bucket, in nanoseconds.
fn highest(index: usize) -> u64 {
    let (power, quarter) = (index as u64 / u64::from(PER_DOUBLING), index as u64 % u64::from(PER_DOUBLING));
    ((5 + quarter) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_near_what_was_noted() {
        let meter = Meter::default();
        for micros in 1..=100 {
            meter.note(Duration::from_micros(micros), micros > 98);
        }
        assert_eq!((meter.calls(), meter.errors()), (100, 2));
        let (p50, p99) = (meter.percentile(50), meter.percentile(99));
        assert!((50..=63).contains(&p50) && (99..=125).contains(&p99), "{p50} {p99}");
    }

    #[test]
    fn nothing_noted_is_zero_and_extremes_have_a_bucket() {
        let meter = Meter::default();
        assert_eq!(meter.percentile(99), 0);
        meter.note(Duration::ZERO, false);
        meter.note(Duration::MAX, true);
        assert_eq!(meter.calls(), 2);
    }

    #[test]
    fn buckets_follow_each_other() {
        for nanos in [4, 5, 7, 8, 9, 10, 1000, 1023, 1024, 123_456_789] {
            let index = bucket(nanos);
            assert!(nanos <= highest(index) && (index == 0 || nanos > highest(index - 1)), "{nanos} in {index}");
        }
    }
}
