//! `HorizontalPodAutoscaler`, stored as `autoscaling/v2`.

mod metrics;
mod v1;
mod validate;

use std::sync::Arc;

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::value::{child, fill, int, list, set, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::forms::OtherForm;
use crate::print::age;
use crate::status::Cause;

struct Autoscaler;

pub(super) fn descriptor() -> ResourceDescriptor {
    let mut descriptor =
        resource("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", Scope::Namespaced, Autoscaler)
            .short("hpa")
            .in_all()
            .status();
    descriptor.versions = vec!["v2".into(), "v1".into()];
    descriptor.schema = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler".into();
    let first = "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler".into();
    descriptor.other_forms = vec![OtherForm { version: "v1".into(), schema: first, form: Arc::new(v1::V1) }];
    descriptor
}

const COLUMNS: &[Column] = &[
    Column::text("Reference", "What is scaled."),
    Column::text("Targets", "What is measured, and what it should be."),
    Column::text("MinPods", "How many pods there are at least."),
    Column::text("MaxPods", "How many pods there are at most."),
    Column::text("Replicas", "How many pods there are."),
    Column::AGE,
];

/// What a direction does unless told otherwise.
fn default_rules(rules: &mut Value, window: Option<i64>, policies: Value) {
    fill(rules, "selectPolicy", "Max");
    if let Some(window) = window {
        fill(rules, "stabilizationWindowSeconds", window);
    }
    if rules.get("policies").is_none_or(Value::is_null) {
        set(rules, "policies", policies);
    }
}

impl Strategy for Autoscaler {
    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "minReplicas", 1);
        if list(spec, "/metrics").is_empty() {
            let target = json!({"type": "Utilization", "averageUtilization": 80});
            set(spec, "metrics", json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
        }
        if let Some(behavior) = spec.get_mut("behavior").filter(|behavior| behavior.is_object()) {
            if let Some(up) = child(behavior, "scaleUp") {
                let policies = json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]);
                default_rules(up, Some(0), policies);
            }
            if let Some(down) = child(behavior, "scaleDown") {
                default_rules(down, None, json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
            }
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"desiredReplicas": 0}));
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        validate::validate(object)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let reference = format!("{}/{}", text(object, "/spec/scaleTargetRef/kind"), text(object, "/spec/scaleTargetRef/name"));
        let least = int(object, "/spec/minReplicas").map_or("<unset>".to_owned(), |least| least.to_string());
        vec![
            reference.into(),
            metrics::summary(object).into(),
            least.into(),
            int(object, "/spec/maxReplicas").unwrap_or(0).to_string().into(),
            int(object, "/status/currentReplicas").unwrap_or(0).to_string().into(),
            age(object, context.now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn autoscaler(spec: Value) -> Value {
        let mut object =
            json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
        if let (Some(into), Value::Object(spec)) = (object["spec"].as_object_mut(), spec) {
            into.extend(spec);
        }
        Autoscaler.default(&mut object);
        object
    }

    #[test]
    fn an_autoscaler_holds_processors_at_four_fifths_unless_told_otherwise() {
        let object = autoscaler(json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 5}}}));
        assert_eq!(Autoscaler.validate(&object), []);
        assert_eq!(object["spec"]["behavior"]["scaleUp"]["stabilizationWindowSeconds"], 5);
        assert_eq!(object["spec"]["behavior"]["scaleDown"]["policies"][0]["value"], 100);
        let cells = Autoscaler.cells(&object, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..5], ["Deployment/web", "cpu: <unknown>/80%", "1", "3", "0"].map(Value::from));
    }
}
