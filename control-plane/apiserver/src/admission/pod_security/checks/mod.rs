//! The Pod Security Standards, version by version: `baseline` keeps known ways to more privileges shut, `restricted` asks
//! for what is good practice.

mod baseline;
mod restricted;
mod view;

use std::collections::BTreeSet;

use serde_json::Value;

use super::policy::{Level, Standard};
pub(super) use view::Pod;

/// The newest minor version there is: what `latest` means.
const LATEST: u32 = 36;

/// What a pod does that a standard forbids: in a word, and in detail.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) reason: String,
    pub(super) detail: String,
}

/// The only maker of results: a check that has nothing to say is fine.
fn violation(reason: &str, detail: String) -> Option<Violation> {
    Some(Violation { reason: reason.to_owned(), detail })
}

type Run = fn(&Pod<'_>) -> Option<Violation>;

struct Check {
    id: &'static str,
    /// The check of `baseline` that this one includes.
    overrides: &'static str,
    /// From which minor version on it is done how.
    versions: &'static [(u32, Run)],
}

impl Check {
    fn at(&self, minor: u32) -> Option<Run> {
        self.versions.iter().rev().find(|(since, _)| *since <= minor).map(|(_, run)| *run)
    }
}

/// What a pod violates of a standard, the checks of `baseline` first, each level in the order of the checks' names.
pub(super) fn violations(standard: Standard, pod: &Pod<'_>) -> Vec<Violation> {
    let minor = standard.minor.map_or(LATEST, |minor| minor.min(LATEST));
    let restricted: &[Check] = if standard.level == Level::Restricted { restricted::CHECKS } else { &[] };
    if standard.level == Level::Privileged {
        return Vec::new();
    }
    let overridden = |id: &str| restricted.iter().any(|check| check.overrides == id && check.at(minor).is_some());
    let baseline = baseline::CHECKS.iter().filter(|check| !overridden(check.id));
    baseline.chain(restricted).filter_map(|check| check.at(minor)?(pod)).collect()
}

/// All violations as one text.
pub(super) fn in_detail(violations: &[Violation]) -> String {
    let each = violations.iter().map(|violation| match violation.detail.as_str() {
        "" => violation.reason.clone(),
        detail => format!("{} ({detail})", violation.reason),
    });
    each.collect::<Vec<_>>().join(", ")
}

fn quoted<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect();
    items.join(", ")
}

fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `container "a"`, `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// Who sets something wrong: the pod, its containers, or both.
fn setters(pod: bool, names: &[&str]) -> String {
    let pod = pod.then(|| "pod".to_owned());
    let containers = (!names.is_empty()).then(|| containers(names));
    pod.into_iter().chain(containers).collect::<Vec<_>>().join(" and ")
}

/// A field of the security context of the pod and of its containers, where `bad` says which values are wrong.
struct Fields<'a> {
    pod: bool,
    containers: Vec<&'a str>,
    values: BTreeSet<String>,
}

impl<'a> Fields<'a> {
    fn of(pod: &Pod<'a>, pointer: &str, bad: impl Fn(&Value) -> bool) -> Self {
        let mut values = BTreeSet::new();
        let mut wrong = |value: Option<&Value>| {
            let value = value.filter(|value| !value.is_null() && bad(value));
            values.extend(value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
            value.is_some()
        };
        let pod_sets = wrong(pod.security(pointer));
        let containers = pod.containers().filter(|container| wrong(container.security(pointer))).map(|c| c.name()).collect();
        Self { pod: pod_sets, containers, values }
    }

    fn found(&self) -> bool {
        self.pod || !self.containers.is_empty()
    }

    fn setters(&self) -> String {
        setters(self.pod, &self.containers)
    }
}

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true)
}

#[cfg(test)]
mod tests;
