//! Histograms as Prometheus has them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::line;

/// Values counted by `N` upper bounds, and beyond them.
pub(crate) struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
    within: [AtomicU64; N],
    beyond: AtomicU64,
    /// The bits of a float.
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    pub(crate) const fn new(bounds: &'static [f64; N]) -> Self {
        Self { bounds, within: [const { AtomicU64::new(0) }; N], beyond: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    pub(crate) fn observe(&self, value: f64) {
        let bound = self.bounds.iter().position(|bound| value <= *bound);
        bound.map_or(&self.beyond, |bound| &self.within[bound]).fetch_add(1, Ordering::Relaxed);
        let add = |sum: u64| Some((f64::from_bits(sum) + value).to_bits());
        // It always has a sum to write, and so never fails.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// In seconds.
    pub(crate) fn took(&self, time: Duration) {
        self.observe(time.as_secs_f64());
    }

    /// Appends the lines of one series, if it counted anything.
    pub(crate) fn report(&self, page: &mut String, name: &str, labels: &str) {
        let counts: Vec<u64> = self.within.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let all = counts.iter().sum::<u64>() + self.beyond.load(Ordering::Relaxed);
        if all == 0 {
            return;
        }
        let (bucket, mut total) = (format!("{name}_bucket"), 0);
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in self.bounds.iter().zip(counts) {
            total += count;
            line(page, &bucket, &format!("{labels}{comma}le=\"{bound}\""), total);
        }
        line(page, &bucket, &format!("{labels}{comma}le=\"+Inf\""), all);
        line(page, &format!("{name}_sum"), labels, f64::from_bits(self.sum.load(Ordering::Relaxed)));
        line(page, &format!("{name}_count"), labels, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_within_its_bound() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        let mut page = String::new();
        histogram.report(&mut page, "a", "b=\"c\"");
        assert_eq!(page, "");
        for value in [0.25, 0.5, 0.75, 3.0] {
            histogram.observe(value);
        }
        histogram.took(Duration::from_millis(500));
        histogram.report(&mut page, "a", "b=\"c\"");
        assert_eq!(
            page,
            "a_bucket{b=\"c\",le=\"0.5\"} 3\na_bucket{b=\"c\",le=\"1\"} 4\na_bucket{b=\"c\",le=\"+Inf\"} 5\n\
             a_sum{b=\"c\"} 5\na_count{b=\"c\"} 5\n"
        );
    }
}
