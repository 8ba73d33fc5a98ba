//! The status of a definition.

use jiff::Timestamp;
use serde_json::{Value, json};

/// A condition as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: &'static str,
    pub(super) status: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Condition {
    pub(super) fn new(kind: &'static str, status: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status, reason, message: message.into() }
    }
}

pub(super) fn established() -> Condition {
    Condition::new("Established", true, "InitialNamesAccepted", "the initial names have been accepted")
}

pub(super) fn not_accepted() -> Condition {
    Condition::new("Established", false, "NotAccepted", "not all names are accepted")
}

pub(super) fn is_true(definition: &Value, kind: &str) -> bool {
    conditions(definition).iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn conditions(definition: &Value) -> &[Value] {
    definition.pointer("/status/conditions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn set_names(definition: &mut Value, names: Value) {
    definition["status"]["acceptedNames"] = names;
}

/// Sets a condition; the time changes with the status alone.
pub(super) fn set(definition: &mut Value, now: Timestamp, condition: &Condition) {
    let status = if condition.status { "True" } else { "False" };
    let old = conditions(definition).iter().find(|old| old["type"] == condition.kind).cloned();
    let since = match &old {
        Some(old) if old["status"] == status => old["lastTransitionTime"].clone(),
        _ => json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    };
    let mut new = old.unwrap_or_else(|| json!({}));
    new["type"] = json!(condition.kind);
    new["status"] = json!(status);
    new["reason"] = json!(condition.reason);
    new["message"] = json!(condition.message);
    new["lastTransitionTime"] = since;
    let conditions = definition["status"]["conditions"].take();
    let mut conditions = conditions.as_array().cloned().unwrap_or_default();
    match conditions.iter_mut().find(|old| old["type"] == condition.kind) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
    definition["status"]["conditions"] = Value::Array(conditions);
}
