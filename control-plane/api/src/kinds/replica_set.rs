//! `ReplicaSet`.

use serde_json::Value;

use super::builder::{Describe, resource};
use super::pod_template::{Workload, check_template, default_template};
use super::value::{child, fill, int};
use super::workload::{CONTAINERS, IMAGES, SELECTOR, template_cells};
use crate::Pointed as _;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{immutable, non_negative};

struct ReplicaSet;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("apps", "ReplicaSet", "replicasets", Scope::Namespaced, ReplicaSet).short("rs").in_all().status().scale()
}

const COLUMNS: &[Column] = &[
    Column::number("Desired", "How many pods there should be."),
    Column::number("Current", "How many pods there are."),
    Column::number("Ready", "How many pods are ready."),
    Column::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

impl Strategy for ReplicaSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "replicas", 1);
        if let Some(template) = child(spec, "template") {
            default_template(template);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.insert("status".to_owned(), serde_json::json!({"replicas": 0}));
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        causes.extend(non_negative("spec.replicas", object.at("/spec/replicas")));
        causes.extend(non_negative("spec.minReadySeconds", object.at("/spec/minReadySeconds")));
        causes.extend(check_template(object, Workload::ReplicaSet));
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        immutable("spec.selector", object.at("/spec/selector"), old.at("/spec/selector")).into_iter().collect()
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        (path == "status.replicas").then(|| int(object, "/status/replicas").unwrap_or(0).to_string())
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let number = |pointer| Value::from(int(object, pointer).unwrap_or(0));
        let counts = [number("/spec/replicas"), number("/status/replicas"), number("/status/readyReplicas")];
        counts.into_iter().chain([age(object, context.now).into()]).chain(template_cells(object)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replica_set() -> Value {
        let mut object = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {
            "selector": {"matchLabels": {"app": "a"}}, "unknown": 1,
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
        }});
        ReplicaSet.default(&mut object);
        ReplicaSet.prepare_create(&mut object);
        object
    }

    #[test]
    fn a_replica_set_has_its_defaults_and_row() {
        let object = replica_set();
        assert_eq!((&object["spec"]["replicas"], &object["spec"]["unknown"]), (&json!(1), &json!(1)));
        assert_eq!(ReplicaSet.validate(&object), []);
        let now = "2026-01-01T00:00:09Z".parse().expect("a timestamp");
        assert_eq!(
            ReplicaSet.cells(&object, Context { now }),
            [json!(1), json!(0), json!(0), json!("9s"), json!("c"), json!("i:1"), json!("app=a")]
        );
    }

    #[test]
    fn the_selector_must_match_the_template_and_never_change() {
        let mut object = replica_set();
        object["spec"]["selector"]["matchLabels"]["app"] = json!("b");
        object["spec"]["replicas"] = json!(-1);
        let causes = ReplicaSet.validate(&object);
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["spec.replicas", "spec.template.metadata.labels"]);
        assert_eq!(causes[1].message, "Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`");
        assert_eq!(ReplicaSet.validate_update(&object, &replica_set())[0].field, "spec.selector");
    }
}
