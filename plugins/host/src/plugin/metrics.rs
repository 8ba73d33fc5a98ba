//! What plugins count themselves.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Names of one plugin.
const MOST: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// As the plugin says it: `/metrics` puts `mizzen_plugin_user_` before it.
    pub name: String,
    pub kind: MetricKind,
    pub value: f64,
}

#[derive(Default)]
pub(crate) struct UserMetrics(Mutex<BTreeMap<String, (MetricKind, f64)>>);

impl UserMetrics {
    pub(crate) fn count(&self, name: &str, amount: f64) {
        // Not a number is ignored too.
        if amount >= 0.0 && amount.is_finite() {
            self.change(name, MetricKind::Counter, |value| value + amount);
        }
    }

    pub(crate) fn gauge(&self, name: &str, value: f64) {
        self.change(name, MetricKind::Gauge, |_| value);
    }

    fn change(&self, name: &str, kind: MetricKind, change: impl FnOnce(f64) -> f64) {
        let mut metrics = self.0.lock();
        if let Some((known, value)) = metrics.get_mut(name) {
            if *known == kind {
                *value = change(*value);
            }
        } else if metrics.len() < MOST && is_name(name) {
            metrics.insert(name.to_owned(), (kind, change(0.0)));
        }
    }

    pub(crate) fn all(&self) -> Vec<Metric> {
        let metrics = self.0.lock();
        metrics.iter().map(|(name, (kind, value))| Metric { name: name.clone(), kind: *kind, value: *value }).collect()
    }
}

/// What may follow the prefix in Prometheus' text format.
fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_gauges_are_set() {
        let metrics = UserMetrics::default();
        for amount in [1.0, 2.5, -4.0, f64::NAN, f64::INFINITY] {
            metrics.count("seen", amount);
        }
        metrics.gauge("level", 7.0);
        metrics.gauge("level", -1.0);
        metrics.gauge("seen", 9.0);
        metrics.count("no name", 1.0);
        metrics.count("", 1.0);
        let all: Vec<_> = metrics.all().into_iter().map(|metric| (metric.name, metric.kind, metric.value)).collect();
        assert_eq!(all, [("level".into(), MetricKind::Gauge, -1.0), ("seen".into(), MetricKind::Counter, 3.5)]);
    }

    #[test]
    fn names_beyond_the_limit_are_not_kept() {
        let metrics = UserMetrics::default();
        (0..100).for_each(|n| metrics.count(&format!("n{n}"), 1.0));
        assert_eq!(metrics.all().len(), MOST);
    }
}
