//! A workload's `spec.template` and `spec.selector`.

use serde_json::Value;

use super::super::value::text;
use super::{SpecContext, check_spec};
use crate::Pointed as _;
use crate::selector::LabelSelector;
use crate::status::Cause;
use crate::validate::{Path, forbidden, invalid, not_supported, required, validate_label_selector, validate_labels};

/// Checks `spec.selector` and `spec.template` of a workload whose pods are restarted for ever; `workload` is its kind
/// in lower case, for the message.
pub(in super::super) fn check_template(object: &Value, workload: &str) -> Vec<Cause> {
    let spec = Path::root("spec");
    let mut causes = Vec::new();
    let selector = object.at("/spec/selector").filter(|selector| !selector.is_null());
    let labels = object.at("/spec/template/metadata/labels");
    match selector {
        None => causes.push(required(spec.field("selector"), "")),
        Some(document) => match LabelSelector::from_document(Some(document)) {
            Err(error) => {
                let before = causes.len();
                causes.extend(validate_label_selector(Some(document), &spec.field("selector")));
                if causes.len() == before {
                    causes.push(invalid(spec.field("selector"), document, error));
                }
            }
            Ok(selector) if selector.is_everything() => {
                causes.push(invalid(spec.field("selector"), document, format!("empty selector is invalid for {workload}")));
            }
            Ok(selector) if !selector.matches_value(labels) => causes.push(invalid(
                "spec.template.metadata.labels",
                labels.unwrap_or(&Value::Null),
                "`selector` does not match template `labels`",
            )),
            Ok(_) => {}
        },
    }
    let path = spec.field("template");
    let Some(template) = object.at("/spec/template").filter(|template| template.is_object()) else {
        causes.push(required(path, ""));
        return causes;
    };
    causes.extend(check_pod_template(template, &path));
    let pod = path.field("spec");
    match text(template, "/spec/restartPolicy") {
        "" | "Always" => {}
        policy @ ("OnFailure" | "Never") => causes.push(not_supported(pod.field("restartPolicy"), policy, &["Always"])),
        // Any other is refused by the pod spec's own check.
        _ => {}
    }
    if template.at("/spec/activeDeadlineSeconds").is_some_and(|seconds| !seconds.is_null()) {
        causes.push(forbidden(pod.field("activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported"));
    }
    causes
}

/// Checks a template by itself: the labels and the spec of the pods to come.
pub(in super::super) fn check_pod_template(template: &Value, path: &Path) -> Vec<Cause> {
    let metadata = path.field("metadata");
    let labels = metadata.field("labels").to_string();
    let mut causes = validate_labels(&labels, template.at("/metadata/labels"));
    causes.extend(check_spec(template.get("spec").unwrap_or(&Value::Null), &path.field("spec"), SpecContext::Template));
    causes
}
