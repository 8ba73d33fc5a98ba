//! What admission policies that are Wasm components do, at `/metrics` (docs/admission-policies.md lists the names).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mizzen_api::ObjectRef;
use mizzen_extensions::plugins::Vitals;

use super::Dynamic;
use super::audit::Outcome;
use super::plugins::Plugin;
use crate::metrics::{heading, line};
use crate::plugin_metrics::{Own, POLICIES, vitals};

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

/// A policy's object, and how what is loaded for it does.
struct Row {
    plugin: Arc<Plugin>,
    labels: String,
    vitals: Option<Vitals>,
}

impl Dynamic {
    /// Appends the metrics of policies, nothing where there are none, and adds what they count themselves to `own`.
    pub(crate) fn report(&self, page: &mut String, own: &mut Own) {
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
            let loaded: Vec<_> = rows.iter().filter_map(|row| Some((row.labels.as_str(), row.vitals.as_ref()?))).collect();
            vitals(page, &POLICIES, &loaded);
            for Row { plugin, vitals, .. } in &rows {
                own.add(&plugin.object, vitals.as_ref());
            }
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
