//! Durations, and what is said of them.

use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(crate) fn extend(&mut self, samples: Samples) {
        self.0.extend(samples.0);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest sample that at least this share of all does not exceed; zero when there is none.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(0.5)
    }

    /// `p50 / p99`.
    pub(crate) fn summary(&self) -> String {
        format!("{} / {}", show(self.median()), show(self.percentile(0.99)))
    }
}

/// With three digits at least, in the unit that suits.
pub(crate) fn show(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        m if m < 10_000.0 => format!("{:.2} ms", m / 1e3),
        m if m < 1e6 => format!("{:.0} ms", m / 1e3),
        m => format!("{:.2} s", m / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let samples = Samples((1..=30).rev().map(Duration::from_millis).collect());
        assert_eq!(samples.median(), Duration::from_millis(15));
        assert_eq!(samples.percentile(0.99), Duration::from_millis(30));
        assert_eq!(Samples::default().median(), Duration::ZERO);
        assert_eq!(samples.summary(), "15 ms / 30 ms");
        assert_eq!(show(Duration::from_micros(1234)), "1.23 ms");
        assert_eq!(show(Duration::from_millis(2500)), "2.50 s");
    }
}
