//! How plugins do, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histograms of reviews and calls, in seconds; what takes longer is in one more bucket.
pub const BOUNDS: [f64; 15] = [
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.01,
    0.05,
    0.25,
    1.0,
];

/// The scheduler plugins that are components. Whoever loads them implements it.
pub trait SchedulerPlugins: Send + Sync + 'static {
    /// All there are objects for, by name.
    fn all(&self) -> Vec<SchedulerPlugin>;
}

/// An object's plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchedulerPlugin {
    pub object: String,
    /// `None` while nothing is loaded for it.
    pub vitals: Option<Vitals>,
    pub shadow: Shadow,
}

/// What decisions would have come to with a plugin that only looked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    /// Pods that were placed while it looked on.
    pub decisions: u64,
    /// Pods of these that would have gone to another node.
    pub elsewhere: u64,
    /// Pods of these that would have waited.
    pub unplaced: u64,
}

/// A moment's view; counts begin when the component is loaded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vitals {
    /// Of its code, such as `sha256:…`.
    pub digest: String,
    pub times: Times,
    /// Reviews or calls that failed.
    pub errors: u64,
    /// Reviews or calls that were not tried, since it failed too often. They are among a policy's errors.
    pub refused: u64,
    /// Bytes of linear memory of its instances.
    pub memory: u64,
    pub instances: u64,
    pub breaker: Breaker,
    /// What it counts itself.
    pub own: Vec<OwnMetric>,
}

/// How long reviews took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// Reviews in each bucket of [`BOUNDS`], not summed up, and of those that took longer.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Seconds.
    pub sum: f64,
}

impl Times {
    /// Of counts of what took no longer than so long. Each is in the first bucket that holds all of it.
    pub fn of(counts: impl IntoIterator<Item = (Duration, u64)>, sum: Duration) -> Self {
        let mut times = Self { sum: sum.as_secs_f64(), ..Self::default() };
        counts.into_iter().for_each(|(took, count)| times.buckets[bucket(took)] += count);
        times
    }
}

fn bucket(took: Duration) -> usize {
    let seconds = took.as_secs_f64();
    BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len())
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    #[default]
    Closed,
    /// It failed too often and is not asked for a while.
    Open,
    /// One review finds out whether it works again.
    Probing,
}

impl Breaker {
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::Probing];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probing => "probing",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct OwnMetric {
    /// As the plugin says it.
    pub name: String,
    /// A counter, or else a gauge.
    pub is_counter: bool,
    pub value: f64,
}

/// Counts how long reviews take, without a lock.
#[derive(Debug, Default)]
pub struct Timer {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Timer {
    pub fn note(&self, took: Duration) {
        self.buckets[bucket(took)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn times(&self) -> Times {
        Times {
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed)),
            sum: self.nanos.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_is_in_the_first_bucket_that_holds_it() {
        let timer = Timer::default();
        for micros in [1, 9, 10, 11, 5_000_000] {
            timer.note(Duration::from_micros(micros));
        }
        let times = timer.times();
        let counted: Vec<(usize, u64)> = times.buckets.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(0, 1), (3, 2), (4, 1), (15, 1)]);
        assert!((times.sum - 5.000_031).abs() < 1e-6, "{}", times.sum);
        let counts = [(Duration::from_nanos(1000), 1), (Duration::from_micros(10), 2), (Duration::from_micros(11), 1)];
        let summed = Times::of(counts.into_iter().chain([(Duration::from_secs(5), 1)]), Duration::from_secs(5));
        assert_eq!(summed.buckets, times.buckets);
    }
}
