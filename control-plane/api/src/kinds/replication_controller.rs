//! `ReplicationController`.

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::pod_template::{check_pod_template, default_template};
use super::value::{absent, child, entries, fill, int, labels_text, set, text};
use super::workload::{CONTAINERS, IMAGES, SELECTOR, container_cells};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, forbidden, invalid, non_negative, not_supported, required};

struct ReplicationController;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "ReplicationController", "replicationcontrollers", Scope::Namespaced, ReplicationController)
        .short("rc")
        .in_all()
        .scale()
        .status()
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

fn is_empty(object: &Value, pointer: &str) -> bool {
    entries(object, pointer).next().is_none()
}

impl Strategy for ReplicationController {
    /// The selector and the controller's own labels are those of the template unless said otherwise.
    fn default(&self, object: &mut Value) {
        if let Some(labels) = object.pointer("/spec/template/metadata/labels").filter(|labels| labels.is_object()).cloned() {
            if is_empty(object, "/metadata/labels")
                && let Some(metadata) = child(object, "metadata")
            {
                set(metadata, "labels", labels.clone());
            }
            if is_empty(object, "/spec/selector")
                && let Some(spec) = child(object, "spec")
            {
                set(spec, "selector", labels);
            }
        }
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "replicas", 1);
        if let Some(template) = spec.get_mut("template").filter(|template| template.is_object()) {
            default_template(template);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"replicas": 0}));
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let spec = Path::root("spec");
        let mut causes: Vec<Cause> = ["replicas", "minReadySeconds"]
            .iter()
            .filter_map(|field| non_negative(spec.field(field), object.pointer(&format!("/spec/{field}"))))
            .collect();
        if is_empty(object, "/spec/selector") {
            causes.push(required(spec.field("selector"), ""));
        }
        let at = spec.field("template");
        let Some(template) = object.pointer("/spec/template").filter(|template| template.is_object()) else {
            causes.push(required(at, ""));
            return causes;
        };
        let labels = template.pointer("/metadata/labels");
        if entries(object, "/spec/selector").any(|(key, value)| labels.and_then(|labels| labels.get(key)) != Some(value)) {
            let why = "`selector` does not match template `labels`";
            causes.push(invalid("spec.template.metadata.labels", labels.unwrap_or(&Value::Null), why));
        }
        causes.extend(check_pod_template(template, &at));
        let pod = at.field("spec");
        if let policy @ ("OnFailure" | "Never") = text(template, "/spec/restartPolicy") {
            causes.push(not_supported(pod.field("restartPolicy"), policy, &["Always"]));
        }
        if !absent(template, "/spec/activeDeadlineSeconds") {
            let why = "activeDeadlineSeconds in ReplicationController is not Supported";
            causes.push(forbidden(pod.field("activeDeadlineSeconds"), why));
        }
        causes
    }

    fn orphans_by_default(&self) -> bool {
        true
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
        let [containers, images] = container_cells(object, "/spec/template/spec/containers");
        vec![
            number("/spec/replicas"),
            number("/status/replicas"),
            number("/status/readyReplicas"),
            age(object, context.now).into(),
            containers,
            images,
            labels_text(object, "/spec/selector").into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_takes_selector_and_labels_from_its_template() {
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"template": {"metadata": {"labels": {"app": "a"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        ReplicationController.default(&mut object);
        assert_eq!((&object["spec"]["selector"], &object["metadata"]["labels"]), (&json!({"app": "a"}), &json!({"app": "a"})));
        assert_eq!(ReplicationController.validate(&object), []);
        object["spec"]["selector"]["app"] = json!("b");
        object["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
        let fields: Vec<String> = ReplicationController.validate(&object).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["spec.template.metadata.labels", "spec.template.spec.restartPolicy"]);
    }
}
