//! `AdmissionRequest.options`: with what options the client asked.

use mizzen_client::Propagation;
use serde_json::{Map, Value, json};

use crate::admission::Options;

/// The options as an object of `kind`; what was not said is left out.
pub(super) fn shown(kind: &str, options: &Options<'_>, dry_run: bool) -> Value {
    let mut shown = Map::new();
    let mut put = |field: &str, value: Value| drop(shown.insert(field.to_owned(), value));
    put("kind", json!(kind));
    put("apiVersion", json!("meta.k8s.io/v1"));
    if dry_run {
        put("dryRun", json!(["All"]));
    }
    match options {
        Options::None => {}
        Options::Write(options) => {
            let said = [("fieldManager", &options.field_manager), ("fieldValidation", &options.field_validation)];
            for (field, text) in said.into_iter().filter(|(_, text)| !text.is_empty()) {
                put(field, json!(text));
            }
        }
        Options::Delete(options) => {
            if let Some(seconds) = options.grace_period_seconds {
                put("gracePeriodSeconds", json!(seconds));
            }
            if let Some(propagation) = options.propagation {
                put("propagationPolicy", json!(policy(propagation)));
            }
            let said = [("uid", &options.uid), ("resourceVersion", &options.resource_version)];
            let preconditions: Map<String, Value> =
                said.into_iter().filter_map(|(field, text)| Some((field.to_owned(), json!(text.as_ref()?)))).collect();
            if !preconditions.is_empty() {
                put("preconditions", Value::Object(preconditions));
            }
        }
    }
    Value::Object(shown)
}

fn policy(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Orphan => "Orphan",
        Propagation::Background => "Background",
        Propagation::Foreground => "Foreground",
    }
}

#[cfg(test)]
mod tests {
    use mizzen_client::{DeleteOptions, WriteOptions};

    use super::*;

    #[test]
    fn what_was_said_is_shown_and_nothing_else() {
        let bare = json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"});
        assert_eq!(shown("CreateOptions", &Options::Write(&WriteOptions::default()), false), bare);
        let write =
            WriteOptions { field_manager: "me".to_owned(), field_validation: "Strict".to_owned(), ..WriteOptions::default() };
        let said = json!({"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"], "fieldManager": "me",
            "fieldValidation": "Strict"});
        assert_eq!(shown("UpdateOptions", &Options::Write(&write), true), said);
        let delete = DeleteOptions {
            grace_period_seconds: Some(0),
            propagation: Some(Propagation::Orphan),
            uid: Some("u".to_owned()),
            ..DeleteOptions::default()
        };
        let said = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 0,
            "propagationPolicy": "Orphan", "preconditions": {"uid": "u"}});
        assert_eq!(shown("DeleteOptions", &Options::Delete(&delete), false), said);
    }
}
