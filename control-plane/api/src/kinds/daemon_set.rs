//! `DaemonSet`.

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::pod_template::{Workload, check_template, default_template};
use super::value::{child, fill, int, labels_text, set, text};
use super::workload::{CONTAINERS, IMAGES, SELECTOR, check_amount, is_zero, template_cells};
use crate::Pointed as _;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, immutable, invalid, non_negative, not_supported, required};

struct DaemonSet;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("apps", "DaemonSet", "daemonsets", Scope::Namespaced, DaemonSet).short("ds").in_all().status()
}

const COLUMNS: &[Column] = &[
    Column::number("Desired", "How many nodes should have a pod."),
    Column::number("Current", "How many nodes have a pod."),
    Column::number("Ready", "How many pods are ready."),
    Column::number("Up-to-date", "How many pods have the newest template."),
    Column::number("Available", "How many pods have been ready for minReadySeconds."),
    Column::text("Node Selector", "The nodes that get a pod."),
    Column::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const COUNTS: &[&str] =
    &["desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"];

impl Strategy for DaemonSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "revisionHistoryLimit", 10);
        if let Some(strategy) = child(spec, "updateStrategy") {
            fill(strategy, "type", "RollingUpdate");
            if text(strategy, "/type") == "RollingUpdate"
                && let Some(rolling) = child(strategy, "rollingUpdate")
            {
                fill(rolling, "maxUnavailable", 1);
                fill(rolling, "maxSurge", 0);
            }
        }
        if let Some(template) = child(spec, "template") {
            default_template(template);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let zero = ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"];
        set(object, "status", zero.iter().map(|field| ((*field).to_owned(), json!(0))).collect::<serde_json::Map<_, _>>());
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = check_template(object, Workload::DaemonSet);
        for field in ["minReadySeconds", "revisionHistoryLimit"] {
            causes.extend(non_negative(format!("spec.{field}"), object.at(&format!("/spec/{field}"))));
        }
        check_strategy(object.at("/spec/updateStrategy").unwrap_or(&Value::Null), &mut causes);
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        immutable("spec.selector", object.at("/spec/selector"), old.at("/spec/selector")).into_iter().collect()
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> Vec<Cause> {
        let fields = COUNTS.iter().chain(&["numberMisscheduled", "numberUnavailable", "observedGeneration"]);
        fields.filter_map(|field| non_negative(format!("status.{field}"), object.at(&format!("/status/{field}")))).collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let counts = COUNTS.iter().map(|field| Value::from(int(object, &format!("/status/{field}")).unwrap_or(0)));
        let nodes = labels_text(object, "/spec/template/spec/nodeSelector");
        counts.chain([nodes.into(), age(object, context.now).into()]).chain(template_cells(object)).collect()
    }
}

fn check_strategy(strategy: &Value, causes: &mut Vec<Cause>) {
    let path = Path::root("spec.updateStrategy");
    let at = path.field("rollingUpdate");
    match (text(strategy, "/type"), strategy.get("rollingUpdate").filter(|rolling| rolling.is_object())) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => causes.push(required(at, "")),
        ("RollingUpdate", Some(rolling)) => {
            for field in ["maxUnavailable", "maxSurge"] {
                if let Some(value) = rolling.get(field) {
                    check_amount(value, &at.field(field), true, causes);
                }
            }
            match (is_zero(rolling.get("maxUnavailable")), is_zero(rolling.get("maxSurge"))) {
                (false, false) => {
                    let surge = rolling.get("maxSurge").unwrap_or(&Value::Null);
                    causes.push(invalid(at.field("maxSurge"), surge, "may not be set when maxUnavailable is non-zero"));
                }
                (true, true) => causes.push(required(at.field("maxUnavailable"), "cannot be 0 when maxSurge is 0")),
                _ => {}
            }
        }
        (other, _) => causes.push(not_supported(path.field("type"), other, &["OnDelete", "RollingUpdate"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_with(strategy: Value) -> Value {
        let mut object = json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "updateStrategy": strategy, "template": {
            "metadata": {"labels": {"app": "a"}}, "spec": {"nodeSelector": {"disk": "ssd"}, "containers": [{"name": "c", "image": "i"}]}}}});
        DaemonSet.default(&mut object);
        object
    }

    #[test]
    fn a_daemon_set_rolls_one_by_one_and_shows_its_nodes() {
        let object = set_with(json!({}));
        assert_eq!(object["spec"]["updateStrategy"]["rollingUpdate"], json!({"maxUnavailable": 1, "maxSurge": 0}));
        assert_eq!(DaemonSet.validate(&object), []);
        assert_eq!(DaemonSet.cells(&object, Context { now: jiff::Timestamp::UNIX_EPOCH })[5], "disk=ssd");
    }

    #[test]
    fn a_rolling_update_either_surges_or_is_short() {
        for (rolling, field) in [
            (json!({"maxUnavailable": 1, "maxSurge": "10%"}), "spec.updateStrategy.rollingUpdate.maxSurge"),
            (json!({"maxUnavailable": 0}), "spec.updateStrategy.rollingUpdate.maxUnavailable"),
            (json!({"maxUnavailable": "many"}), "spec.updateStrategy.rollingUpdate.maxUnavailable"),
        ] {
            let causes = DaemonSet.validate(&set_with(json!({"rollingUpdate": rolling})));
            assert_eq!(causes.first().map(|cause| cause.field.as_str()), Some(field));
        }
        assert_eq!(DaemonSet.validate(&set_with(json!({"type": "Other"})))[0].field, "spec.updateStrategy.type");
    }
}
