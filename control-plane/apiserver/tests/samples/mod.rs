//! A valid document of each stored kind, what makes it wrong, and what may not change.

mod core;
mod groups;

use serde_json::{Value, json};

pub struct Sample {
    pub group: &'static str,
    pub resource: &'static str,
    pub document: Value,
    /// A merge patch that makes the document wrong, and the field that is named then.
    pub wrong: (Value, &'static str),
    /// A merge patch that the update rules refuse.
    pub refused: Value,
}

fn sample(group: &'static str, resource: &'static str, document: Value, wrong: (Value, &'static str), refused: Value) -> Sample {
    Sample { group, resource, document, wrong, refused }
}

/// For kinds without rules of their own: labels are checked everywhere.
fn bad_label() -> (Value, &'static str) {
    (json!({"metadata": {"labels": {"l": "no label"}}}), "metadata.labels")
}

/// For kinds whose every field may change: nobody gets another uid.
fn other_uid() -> Value {
    json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

pub fn samples() -> Vec<Sample> {
    core::samples().into_iter().chain(groups::samples()).collect()
}
