//! What admission policies that are Wasm components do, at `/metrics` (docs/admission-policies.md lists the names).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mizzen_api::ObjectRef;
use mizzen_extensions::plugins::{BOUNDS, Breaker, Vitals};

use super::Dynamic;
use super::audit::Outcome;
use super::plugins::Plugin;
use crate::metrics::{heading, line};

/// What became of the requests that a policy was asked about, since the server started.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) allowed: AtomicU64,
    pub(super) denied: AtomicU64,
    pub(super) changed: AtomicU64,
    pub(super) failed: AtomicU64,
}

pub(super) fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

type Of<T> = fn(&Vitals) -> T;

const COUNTERS: &[(&str, &str, Of<u64>)] = &[
    ("mizzen_policy_review_errors_total", "Reviews that failed.", |vitals| vitals.errors),
    ("mizzen_policy_review_refused_total", "Reviews that were not tried: the breaker was open.", |vitals| vitals.refused),
];

const GAUGES: &[(&str, &str, Of<u64>)] = &[
    ("mizzen_policy_memory_bytes", "Linear memory of the policy's instances.", |vitals| vitals.memory),
    ("mizzen_policy_instances", "Instances of the policy that are kept or at work.", |vitals| vitals.instances),
];

/// A policy's object, and how what is loaded for it does.
struct Row {
    plugin: Arc<Plugin>,
    labels: String,
    vitals: Option<Vitals>,
}

impl Dynamic {
    /// Appends the metrics of policies; nothing where there are none.
    pub(crate) fn report(&self, page: &mut String) {
        let snapshot = self.snapshot.load();
        let plugins = snapshot.mutating_plugins.iter().chain(&snapshot.validating_plugins);
        let rows: Vec<Row> = plugins
            .map(|plugin| Row {
                plugin: plugin.clone(),
                labels: labels(&plugin.object),
                vitals: plugin.policy().map(|policy| policy.vitals()),
            })
            .collect();
        if !rows.is_empty() {
            decisions(page, &rows);
            vitals(page, &rows);
            own(page, &rows);
        }
        self.audits(page);
    }

    fn audits(&self, page: &mut String) {
        let audited = self.audited.lock().clone();
        if audited.audits == 0 {
            return;
        }
        let name = "mizzen_policy_audit_results";
        heading(page, name, "gauge", "What the last audit of stored objects came to.");
        for (object, counts) in &audited.results {
            for (outcome, count) in Outcome::ALL.iter().zip(counts) {
                line(page, name, &format!("{},result=\"{}\"", labels(object), outcome.as_str()), count);
            }
        }
        for (name, kind, help, value) in [
            ("mizzen_policy_audits_total", "counter", "Audits of stored objects that ended.", audited.audits as f64),
            ("mizzen_policy_audit_objects", "gauge", "Objects that the last audit looked at.", audited.objects as f64),
            ("mizzen_policy_audit_duration_seconds", "gauge", "How long the last audit took.", audited.took.as_secs_f64()),
            ("mizzen_policy_audit_end_timestamp_seconds", "gauge", "When the last audit ended.", audited.at as f64),
            ("mizzen_policy_report_writes_total", "counter", "Reports written or removed.", audited.written as f64),
            ("mizzen_policy_report_write_errors_total", "counter", "Reports that could not be written.", audited.failed as f64),
        ] {
            heading(page, name, kind, help);
            page.push_str(&format!("{name} {value}\n"));
        }
    }
}

fn labels(object: &ObjectRef) -> String {
    format!("policy=\"{}\",policy_namespace=\"{}\"", object.name, object.namespace)
}

fn decisions(page: &mut String, rows: &[Row]) {
    let name = "mizzen_policy_decisions_total";
    heading(page, name, "counter", "What became of the requests that the policy was asked about.");
    for Row { plugin, labels, .. } in rows {
        let Counts { allowed, denied, changed, failed } = &*plugin.counts;
        let labels = format!("{labels},mode=\"{}\"", plugin.mode.as_str());
        for (decision, count) in [("allow", allowed), ("deny", denied), ("change", changed), ("error", failed)] {
            line(page, name, &format!("{labels},decision=\"{decision}\""), count.load(Ordering::Relaxed));
        }
    }
    let name = "mizzen_policy_loaded";
    heading(page, name, "gauge", "Whether a component is at work for the policy's object; the digest is that of its code.");
    for Row { labels, vitals, .. } in rows {
        let digest = vitals.as_ref().map_or("", |vitals| &vitals.digest);
        line(page, name, &format!("{labels},digest=\"{digest}\""), u8::from(vitals.is_some()));
    }
}

fn vitals(page: &mut String, rows: &[Row]) {
    let all = || rows.iter().filter_map(|row| Some((&row.labels, row.vitals.as_ref()?)));
    for (kind, metrics) in [("counter", COUNTERS), ("gauge", GAUGES)] {
        for (name, help, value) in metrics {
            heading(page, name, kind, help);
            all().for_each(|(labels, vitals)| line(page, name, labels, value(vitals)));
        }
    }
    let name = "mizzen_policy_breaker_state";
    heading(page, name, "gauge", "1 for the state that the policy's breaker is in: it is not asked while that is open.");
    for (labels, vitals) in all() {
        for state in Breaker::ALL {
            line(page, name, &format!("{labels},state=\"{}\"", state.as_str()), u8::from(vitals.breaker == state));
        }
    }
    let name = "mizzen_policy_review_duration_seconds";
    heading(page, name, "histogram", "How long reviews of requests took.");
    for (labels, vitals) in all() {
        let mut count = 0;
        let bounds = BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(vitals.times.buckets) {
            count += bucket;
            line(page, &format!("{name}_bucket"), &format!("{labels},le=\"{bound}\""), count);
        }
        line(page, &format!("{name}_sum"), labels, vitals.times.sum);
        line(page, &format!("{name}_count"), labels, count);
    }
}

/// What policies count themselves. Where two disagree on whether it is a counter, the first has it.
fn own(page: &mut String, rows: &[Row]) {
    let mut metrics: BTreeMap<&str, (bool, String)> = BTreeMap::new();
    for Row { plugin, vitals, .. } in rows {
        for metric in vitals.iter().flat_map(|vitals| &vitals.own) {
            let (is_counter, lines) = metrics.entry(&metric.name).or_insert_with(|| (metric.is_counter, String::new()));
            if *is_counter == metric.is_counter {
                let ObjectRef { namespace, name } = &plugin.object;
                let labels = format!("plugin=\"{name}\",plugin_namespace=\"{namespace}\"");
                line(lines, &format!("mizzen_plugin_user_{}", metric.name), &labels, metric.value);
            }
        }
    }
    for (name, (is_counter, lines)) in metrics {
        let kind = if is_counter { "counter" } else { "gauge" };
        heading(page, &format!("mizzen_plugin_user_{name}"), kind, "What the plugin says itself.");
        page.push_str(&lines);
    }
}
