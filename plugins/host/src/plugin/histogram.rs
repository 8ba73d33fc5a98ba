//! How long calls took, in few buckets of which none is wider than a fourth of its beginning.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each power of two.
const STEPS: usize = 4;
/// Up to 2^36 ns, more than a minute.
const POWERS: usize = 36;
const BUCKETS: usize = STEPS * POWERS;

pub(crate) struct Histogram([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
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
        self.0[bucket(nanoseconds)].fetch_add(1, Ordering::Relaxed);
    }

    /// The time that so many hundredths of the calls did not take longer than, to a fourth; zero without calls.
    pub(crate) fn percentile(&self, hundredths: u64) -> Duration {
        let counts = self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
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
