//! How long calls took, in few buckets of which none is wider than a fourth of its beginning.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each power of two.
const STEPS: usize = 4;
/// Up to 2^36 ns, more than a minute.
const POWERS: usize = 36;
const BUCKETS: usize = STEPS * POWERS;

pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

/// How long calls took, all told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTimes {
    /// Calls that took less than so long, and no less than the ends before; those without calls are left out.
    pub counts: Vec<(Duration, u64)>,
    pub sum: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; BUCKETS], nanoseconds: AtomicU64::new(0) }
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let value = nanoseconds.max(STEPS as u64);
    let power = value.ilog2() as usize;
    // The two bits below the highest say which fourth it is in.
    let step = (value >> (power - 2)) as usize & (STEPS - 1);
    (power * STEPS + step).min(BUCKETS - 1)
}

/// Nanoseconds below which everything in the bucket is.
fn end(bucket: usize) -> u64 {
    let (power, step) = (bucket / STEPS, bucket % STEPS);
    ((STEPS + step + 1) as u64) << power.saturating_sub(2)
}

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)].fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn times(&self) -> CallTimes {
        let counts = self.counts.iter().enumerate().map(|(at, count)| (at, count.load(Ordering::Relaxed)));
        let counts = counts.filter(|(_, count)| *count > 0).map(|(at, count)| (Duration::from_nanos(end(at)), count));
        CallTimes { counts: counts.collect(), sum: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)) }
    }

    /// The time that so many hundredths of the calls did not take longer than, to a fourth; zero without calls.
    pub(crate) fn percentile(&self, hundredths: u64) -> Duration {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let total: u64 = counts.iter().sum();
        let wanted = (total * hundredths).div_ceil(100).max(1);
        let mut seen = 0;
        let found = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(Duration::ZERO, |bucket| Duration::from_nanos(end(bucket)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let histogram = Histogram::default();
        assert_eq!(histogram.percentile(99), Duration::ZERO);
        (0..98).for_each(|_| histogram.record(Duration::from_micros(8)));
        (0..2).for_each(|_| histogram.record(Duration::from_millis(3)));
        assert_eq!(histogram.percentile(50), Duration::from_nanos(8192));
        let p99 = histogram.percentile(99);
        assert!(p99 >= Duration::from_millis(3) && p99 < Duration::from_micros(3750), "{p99:?}");
        let CallTimes { counts, sum } = histogram.times();
        assert_eq!((counts[0], counts.len(), counts[1].1), ((Duration::from_nanos(8192), 98), 2, 2));
        assert_eq!(sum, Duration::from_micros(98 * 8 + 6000));
    }

    proptest! {
        #[test]
        fn a_bucket_ends_at_most_a_fourth_above_what_is_in_it(nanoseconds in 4_u64..(1 << 36)) {
            let end = end(bucket(nanoseconds));
            prop_assert!(end > nanoseconds, "{end}");
            prop_assert!(end - nanoseconds <= nanoseconds / 4 + 1, "{end}");
        }
    }
}
