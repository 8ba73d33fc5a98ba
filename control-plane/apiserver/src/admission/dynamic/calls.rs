//! What admission webhooks were asked and answered, at `/metrics`, in Kubernetes' names.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::hooks::Hook;
use crate::admission::Operation;
use crate::histogram::Histogram;
use crate::metrics::{heading, line};

/// Seconds: a webhook may take thirty.
const BOUNDS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// The code that a webhook counts with that did not answer.
const UNAVAILABLE: u16 = 503;

/// What came of a question.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Allowed,
    Refused {
        code: u16,
    },
    /// It did not answer, and the request is refused.
    Failed,
    /// It did not answer, and the request goes on.
    FailedOpen,
    /// Its answer could not be followed.
    Broken,
    /// A match condition left the request out.
    LeftOut,
    /// A match condition could not be evaluated.
    Unclear,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: String,
    step: &'static str,
    operation: &'static str,
}

struct Counts {
    requests: BTreeMap<(u16, bool), u64>,
    rejections: BTreeMap<(&'static str, u16), u64>,
    failed_open: u64,
    left_out: u64,
    unclear: u64,
    /// Of requests that went on, and of those that were refused.
    took: [Histogram<{ BOUNDS.len() }>; 2],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: BTreeMap::new(),
            rejections: BTreeMap::new(),
            failed_open: 0,
            left_out: 0,
            unclear: 0,
            took: [(); 2].map(|()| Histogram::new(&BOUNDS)),
        }
    }
}

#[derive(Default)]
pub(super) struct Calls(Mutex<BTreeMap<Key, Counts>>);

/// Name, help and value of a metric.
type Count = (&'static str, &'static str, fn(&Counts) -> u64);

/// What came of match conditions.
const CONDITIONS: [Count; 2] = [
    ("exclusions_total", "Requests that match conditions left out.", |counts| counts.left_out),
    ("evaluation_errors_total", "Match conditions that could not be evaluated.", |counts| counts.unclear),
];

impl Calls {
    /// `took` is `None` where nothing was asked.
    pub(super) fn count(&self, hook: &Hook, operation: Operation, outcome: Outcome, took: Option<Duration>) {
        let step = if hook.is_mutating { "admit" } else { "validating" };
        let key = Key { name: hook.name.clone(), step, operation: operation.as_str() };
        let mut calls = self.0.lock();
        let counts = calls.entry(key).or_default();
        let (code, rejection) = match outcome {
            Outcome::Allowed => (200, None),
            Outcome::Refused { code } => (code, Some("no_error")),
            Outcome::Failed => (UNAVAILABLE, Some("calling_webhook_error")),
            Outcome::FailedOpen => {
                counts.failed_open += 1;
                (UNAVAILABLE, None)
            }
            Outcome::Broken => (0, Some("apiserver_internal_error")),
            Outcome::LeftOut => {
                counts.left_out += 1;
                return;
            }
            Outcome::Unclear => {
                counts.unclear += 1;
                return;
            }
        };
        if let Some(kind) = rejection {
            *counts.rejections.entry((kind, code)).or_default() += 1;
        }
        if let Some(took) = took {
            let rejected = rejection.is_some();
            *counts.requests.entry((code, rejected)).or_default() += 1;
            counts.took[usize::from(rejected)].took(took);
        }
    }

    pub(super) fn report(&self, page: &mut String) {
        let calls = self.0.lock();
        let labels = |Key { name, step, operation }: &Key| format!("name=\"{name}\",type=\"{step}\",operation=\"{operation}\"");
        let name = "apiserver_admission_webhook_request_total";
        heading(page, name, "counter", "Webhooks that were asked, by the code of the answer.");
        for (key, counts) in &*calls {
            for ((code, rejected), count) in &counts.requests {
                line(page, name, &format!("{},code=\"{code}\",rejected=\"{rejected}\"", labels(key)), count);
            }
        }
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        heading(page, name, "histogram", "How long webhooks took, in seconds.");
        for (key, counts) in &*calls {
            for (rejected, took) in [false, true].into_iter().zip(&counts.took) {
                took.report(page, name, &format!("{},rejected=\"{rejected}\"", labels(key)));
            }
        }
        let name = "apiserver_admission_webhook_rejection_count";
        heading(page, name, "counter", "Requests that webhooks refused, and those refused since a webhook failed.");
        for (key, counts) in &*calls {
            for ((kind, code), count) in &counts.rejections {
                line(page, name, &format!("{},error_type=\"{kind}\",rejection_code=\"{code}\"", labels(key)), count);
            }
        }
        let name = "apiserver_admission_webhook_fail_open_count";
        heading(page, name, "counter", "Requests that went on though a webhook failed.");
        let mut open = BTreeMap::<_, u64>::new();
        for (key, counts) in calls.iter().filter(|(_, counts)| counts.failed_open > 0) {
            *open.entry((&key.name, key.step)).or_default() += counts.failed_open;
        }
        for ((webhook, step), count) in open {
            line(page, name, &format!("name=\"{webhook}\",type=\"{step}\""), count);
        }
        for (name, help, value) in CONDITIONS {
            let name = format!("apiserver_admission_match_condition_{name}");
            heading(page, &name, "counter", help);
            for (key, counts) in calls.iter().filter(|(_, counts)| value(counts) > 0) {
                line(page, &name, &format!("kind=\"webhook\",{}", labels(key)), value(counts));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn webhooks_are_counted_by_what_came_of_it() {
        let calls = Calls::default();
        let hook = Hook::parse(&"c".into(), &json!({"name": "a.b.c"}), false);
        let took = Some(Duration::from_millis(50));
        for outcome in [Outcome::Allowed, Outcome::Refused { code: 403 }, Outcome::Failed, Outcome::FailedOpen] {
            calls.count(&hook, Operation::Create, outcome, took);
        }
        calls.count(&hook, Operation::Create, Outcome::LeftOut, None);
        let mut page = String::new();
        calls.report(&mut page);
        let labels = "name=\"a.b.c\",type=\"validating\",operation=\"CREATE\"";
        for wanted in [
            format!("webhook_request_total{{{labels},code=\"200\",rejected=\"false\"}} 1\n"),
            format!("webhook_request_total{{{labels},code=\"503\",rejected=\"true\"}} 1\n"),
            format!("webhook_rejection_count{{{labels},error_type=\"no_error\",rejection_code=\"403\"}} 1\n"),
            format!("webhook_rejection_count{{{labels},error_type=\"calling_webhook_error\",rejection_code=\"503\"}} 1\n"),
            "webhook_fail_open_count{name=\"a.b.c\",type=\"validating\"} 1\n".to_owned(),
            format!("webhook_admission_duration_seconds_bucket{{{labels},rejected=\"true\",le=\"0.025\"}} 0\n"),
            format!("webhook_admission_duration_seconds_count{{{labels},rejected=\"false\"}} 2\n"),
            format!("match_condition_exclusions_total{{kind=\"webhook\",{labels}}} 1\n"),
        ] {
            assert!(page.contains(&format!("apiserver_admission_{wanted}")), "{wanted} in {page}");
        }
    }
}
