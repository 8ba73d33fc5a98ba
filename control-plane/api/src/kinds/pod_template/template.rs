//! A workload's `spec.template` and `spec.selector`.

use serde_json::Value;

use super::super::value::text;
use super::{SpecContext, check_spec};
use crate::Pointed as _;
use crate::selector::LabelSelector;
use crate::status::Cause;
use crate::validate::{Path, forbidden, invalid, not_supported, required, validate_label_selector, validate_labels};

/// Checks `spec.selector` and `spec.template` of a workload whose pods are restarted for ever.
pub(in super::super) fn check_template(object: &Value, workload: Workload) -> Vec<Cause> {
    let spec = Path::root("spec");
    let mut causes = Vec::new();
    let selector = object.at("/spec/selector").filter(|selector| !selector.is_null());
    let labels = object.at("/spec/template/metadata/labels");
    if selector.is_none() && workload != Workload::DaemonSet {
        causes.push(required(spec.field("selector"), ""));
    }
    causes.extend(validate_label_selector(selector, &spec.field("selector")));
    match LabelSelector::from_document(selector) {
        Err(error) => {
            let why = match workload {
                Workload::Deployment | Workload::ReplicaSet => Some("invalid label selector".to_owned()),
                Workload::StatefulSet => Some(String::new()),
                Workload::DaemonSet => causes.is_empty().then(|| error.to_string()),
            };
            causes.extend(why.map(|why| invalid(spec.field("selector"), selector.unwrap_or(&Value::Null), why)));
            // Which pods are meant is not known.
            if workload != Workload::DaemonSet {
                return causes;
            }
        }
        Ok(all) if all.is_everything() => {
            let word = workload.as_selecting();
            causes.push(invalid(
                spec.field("selector"),
                selector.unwrap_or(&Value::Null),
                format!("empty selector is invalid for {word}"),
            ));
        }
        // Without a selector nothing matches.
        Ok(selector) if !selector.matches_value(labels) => causes.push(invalid(
            "spec.template.metadata.labels",
            labels.unwrap_or(&Value::Null),
            "`selector` does not match template `labels`",
        )),
        Ok(_) => {}
    }
    causes.extend(check_pods(object, workload));
    causes
}

/// Which workload a template is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Workload {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
}

impl Workload {
    /// As complaints about selectors call it: of a ReplicaSet Kubernetes says what it says of a Deployment.
    fn as_selecting(self) -> &'static str {
        match self {
            Self::Deployment | Self::ReplicaSet => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
        }
    }

    /// Whose pods the template is for.
    fn as_owner(self) -> &'static str {
        match self {
            Self::Deployment | Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

fn check_pods(object: &Value, workload: Workload) -> Vec<Cause> {
    let spec = Path::root("spec");
    let path = spec.field("template");
    let mut causes = Vec::new();
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
        let why = format!("activeDeadlineSeconds in {} is not Supported", workload.as_owner());
        causes.push(forbidden(pod.field("activeDeadlineSeconds"), &why));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(selector: Value, workload: Workload) -> Vec<String> {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let mut object = json!({"spec": {"selector": selector, "template": template}});
        super::super::default_template(&mut object["spec"]["template"]);
        check_template(&object, workload).into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn selectors_are_complained_of_in_each_workloads_words() {
        const UNMATCHED: &str =
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`";
        let all = [Workload::Deployment, Workload::ReplicaSet, Workload::StatefulSet, Workload::DaemonSet];
        for workload in all {
            assert_eq!(told(json!({"matchLabels": {"a": "b"}}), workload), [""; 0]);
            assert_eq!(told(json!({"matchLabels": {"a": "c"}}), workload), [UNMATCHED]);
            let missing = told(Value::Null, workload);
            match workload {
                Workload::DaemonSet => assert_eq!(missing, [UNMATCHED]),
                _ => assert_eq!(missing, ["spec.selector: Required value", UNMATCHED]),
            }
        }
        let odd = json!({"matchExpressions": [{"key": "a", "operator": "In"}]});
        let values =
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'";
        let shown = "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}";
        let unread = format!("{shown}: invalid label selector");
        assert_eq!(told(odd.clone(), Workload::ReplicaSet), [values, &unread]);
        assert_eq!(told(odd.clone(), Workload::StatefulSet), [values, shown]);
        assert_eq!(told(odd, Workload::DaemonSet), [values]);
        let empty = "spec.selector: Invalid value: {}: empty selector is invalid for deployment";
        assert_eq!(told(json!({}), Workload::ReplicaSet), [empty]);
    }
}
