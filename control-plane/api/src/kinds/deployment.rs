//! `Deployment`.

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::pod_template::{Workload, check_template, default_template};
use super::value::{child, fill, int, text};
use super::workload::{CONTAINERS, IMAGES, SELECTOR, check_amount, template_cells};
use crate::Pointed as _;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, forbidden, immutable, invalid, non_negative, not_supported, required};

struct Deployment;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("apps", "Deployment", "deployments", Scope::Namespaced, Deployment).short("deploy").in_all().status().scale()
}

const COLUMNS: &[Column] = &[
    Column::text("Ready", "How many pods are ready, of how many there should be."),
    Column::text("Up-to-date", "How many pods have the newest template."),
    Column::text("Available", "How many pods have been ready for minReadySeconds."),
    Column::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

impl Strategy for Deployment {
    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "replicas", 1);
        fill(spec, "revisionHistoryLimit", 10);
        fill(spec, "progressDeadlineSeconds", 600);
        if let Some(strategy) = child(spec, "strategy") {
            fill(strategy, "type", "RollingUpdate");
            if text(strategy, "/type") == "RollingUpdate"
                && let Some(rolling) = child(strategy, "rollingUpdate")
            {
                fill(rolling, "maxUnavailable", "25%");
                fill(rolling, "maxSurge", "25%");
            }
        }
        if let Some(template) = child(spec, "template") {
            default_template(template);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.insert("status".to_owned(), json!({}));
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = check_template(object, Workload::Deployment);
        for field in ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
            causes.extend(non_negative(format!("spec.{field}"), object.at(&format!("/spec/{field}"))));
        }
        if let Some(deadline) = int(object, "/spec/progressDeadlineSeconds")
            && deadline <= int(object, "/spec/minReadySeconds").unwrap_or(0)
        {
            causes.push(invalid("spec.progressDeadlineSeconds", &deadline.into(), "must be greater than minReadySeconds"));
        }
        check_strategy(object.at("/spec/strategy").unwrap_or(&Value::Null), &mut causes);
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        immutable("spec.selector", object.at("/spec/selector"), old.at("/spec/selector")).into_iter().collect()
    }

    fn is_new_generation(&self, object: &Value, old: &Value) -> bool {
        // The rollout reads annotations too.
        object.get("spec") != old.get("spec") || object.at("/metadata/annotations") != old.at("/metadata/annotations")
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let number = |pointer| int(object, pointer).unwrap_or(0);
        let ready = format!("{}/{}", number("/status/readyReplicas"), number("/spec/replicas"));
        let counts = [ready.into(), number("/status/updatedReplicas").into(), number("/status/availableReplicas").into()];
        counts.into_iter().chain([age(object, context.now).into()]).chain(template_cells(object)).collect()
    }
}

fn check_strategy(strategy: &Value, causes: &mut Vec<Cause>) {
    let spec = Path::root("spec.strategy");
    let at = spec.field("rollingUpdate");
    let rolling = strategy.get("rollingUpdate").filter(|rolling| !rolling.is_null());
    match (text(strategy, "/type"), rolling) {
        ("Recreate", Some(_)) => causes.push(forbidden(at, "may not be specified when strategy `type` is 'Recreate'")),
        ("RollingUpdate", None) => causes.push(required(at, "this should be defaulted and never be nil")),
        ("RollingUpdate", Some(rolling)) => {
            let mut zero = true;
            for field in ["maxUnavailable", "maxSurge"] {
                if let Some(value) = rolling.get(field) {
                    zero &= matches!(value, Value::String(text) if text == "0%") || value.as_i64() == Some(0);
                    check_amount(value, &at.field(field), field == "maxUnavailable", causes);
                }
            }
            if zero {
                causes.push(invalid(
                    at.field("maxUnavailable"),
                    rolling.get("maxUnavailable").unwrap_or(&Value::Null),
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
        }
        ("Recreate", None) => {}
        (other, _) => causes.push(not_supported(spec.field("type"), other, &["Recreate", "RollingUpdate"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(strategy: Value) -> Value {
        let mut object = json!({"metadata": {}, "spec": {
            "selector": {"matchLabels": {"app": "a"}}, "strategy": strategy,
            "template": {"metadata": {"labels": {"app": "a", "b": "c"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        }});
        Deployment.default(&mut object);
        object
    }

    #[test]
    fn a_deployment_rolls_by_a_quarter_unless_told_otherwise() {
        let object = deployment(json!({}));
        assert_eq!(
            object["spec"]["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
        );
        assert_eq!(
            [&object["spec"]["replicas"], &object["spec"]["revisionHistoryLimit"], &object["spec"]["progressDeadlineSeconds"]],
            [&json!(1), &json!(10), &json!(600)]
        );
        assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"], "Always");
        assert_eq!(Deployment.validate(&object), []);
        assert_eq!(deployment(json!({"type": "Recreate"}))["spec"]["strategy"], json!({"type": "Recreate"}));
    }

    #[test]
    fn wrong_strategies_are_refused_with_their_field() {
        for (strategy, field, message) in [
            (
                json!({"type": "Other"}),
                "spec.strategy.type",
                "Unsupported value: \"Other\": supported values: \"Recreate\", \"RollingUpdate\"",
            ),
            (
                json!({"type": "Recreate", "rollingUpdate": {}}),
                "spec.strategy.rollingUpdate",
                "Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ),
            (
                json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}),
                "spec.strategy.rollingUpdate.maxUnavailable",
                "Invalid value: 0: may not be 0 when `maxSurge` is 0",
            ),
            (
                json!({"rollingUpdate": {"maxUnavailable": "101%"}}),
                "spec.strategy.rollingUpdate.maxUnavailable",
                "Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                json!({"rollingUpdate": {"maxSurge": -1}}),
                "spec.strategy.rollingUpdate.maxSurge",
                "Invalid value: -1: must be greater than or equal to 0",
            ),
        ] {
            let causes = Deployment.validate(&deployment(strategy.clone()));
            assert_eq!(causes.len(), 1, "{strategy}: {causes:?}");
            assert_eq!((causes[0].field.as_str(), causes[0].message.as_str()), (field, message));
        }
    }

    #[test]
    fn a_deployment_without_selector_and_template_names_both() {
        let mut object = json!({"spec": {}});
        Deployment.default(&mut object);
        let causes = Deployment.validate(&object);
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["spec.selector", "spec.template.metadata.labels", "spec.template.spec.containers"]);
    }
}
