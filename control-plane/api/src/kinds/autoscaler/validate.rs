//! What is wrong with an autoscaler (`autoscaling/validation`).

use serde_json::Value;

use super::super::value::{absent, int, list, text};
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::validate::{
    Path, complaints, forbidden, invalid, invalid_text, not_supported, one_of, path_segment, required, required_one_of,
    validate_label_selector,
};

const MAX_PERIOD: i64 = 1800;
const MAX_WINDOW: i64 = 3600;

pub(super) fn validate(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let at = Path::root("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let (least, most) = (int(spec, "/minReplicas"), int(spec, "/maxReplicas").unwrap_or(0));
    if let Some(least) = least.filter(|least| *least < 1) {
        causes.push(invalid(at.field("minReplicas"), &least.into(), "must be greater than or equal to 1"));
    }
    if most < 1 {
        causes.push(invalid(at.field("maxReplicas"), &most.into(), "must be greater than 0"));
    }
    if least.is_some_and(|least| most < least) {
        causes.push(invalid(at.field("maxReplicas"), &most.into(), "must be greater than or equal to `minReplicas`"));
    }
    check_reference(spec.get("scaleTargetRef").unwrap_or(&Value::Null), &at.field("scaleTargetRef"), &mut causes);
    let metrics = at.field("metrics");
    for (index, metric) in list(spec, "/metrics").iter().enumerate() {
        check_metric(metric, &metrics.index(index), &mut causes);
    }
    if let Some(behavior) = spec.get("behavior").filter(|behavior| behavior.is_object()) {
        let at = at.field("behavior");
        for field in ["scaleUp", "scaleDown"] {
            if let Some(rules) = behavior.get(field).filter(|rules| rules.is_object()) {
                check_rules(rules, &at.field(field), &mut causes);
            }
        }
    }
    causes
}

fn check_reference(reference: &Value, at: &Path, causes: &mut Vec<Cause>) {
    for field in ["kind", "name"] {
        match text(reference, &format!("/{field}")) {
            "" => causes.push(required(at.field(field), "")),
            name => causes.extend(complaints(at.field(field), name, path_segment(name))),
        }
    }
}

/// The types of metrics, and the field that describes each.
const TYPES: &[(&str, &str)] = &[
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

fn check_metric(metric: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let kind = text(metric, "/type");
    if kind.is_empty() {
        causes.push(required(at.field("type"), "must specify a metric source type"));
        return;
    }
    let Some((_, field)) = TYPES.iter().find(|(known, _)| *known == kind) else {
        let known: Vec<&str> = TYPES.iter().map(|(kind, _)| *kind).collect();
        causes.push(not_supported(at.field("type"), kind, &known));
        return;
    };
    for (_, other) in TYPES.iter().filter(|(_, other)| other != field && !absent(metric, &format!("/{other}"))) {
        causes.push(forbidden(at.field(other), "must populate the given metric source only"));
    }
    let Some(source) = metric.get(*field).filter(|source| source.is_object()) else {
        causes.push(required(at.field(field), "must populate information for the given metric source"));
        return;
    };
    let at = at.field(field);
    let target = at.field("target");
    check_target(source.get("target").unwrap_or(&Value::Null), &target, causes);
    let has = |field: &str| !absent(source, &format!("/target/{field}"));
    match kind {
        "Resource" | "ContainerResource" => {
            for name in if kind == "Resource" { &["name"][..] } else { &["name", "container"][..] } {
                if text(source, &format!("/{name}")).is_empty() {
                    causes.push(required(at.field(name), "must specify a resource name"));
                }
            }
            match (has("averageUtilization"), has("averageValue")) {
                (false, false) => {
                    let why = "must set either a target raw value or a target utilization";
                    causes.push(required(target.field("averageUtilization"), why));
                }
                (true, true) => {
                    let why = "may not set both a target raw value and a target utilization";
                    causes.push(forbidden(target.field("averageValue"), why));
                }
                _ => {}
            }
        }
        _ => {
            check_metric_name(source, &at, causes);
            if kind == "Object" {
                let object = source.get("describedObject").unwrap_or(&Value::Null);
                check_reference(object, &at.field("describedObject"), causes);
            }
            match (kind, has("value"), has("averageValue")) {
                ("Pods", _, false) => {
                    causes.push(required(target.field("averageValue"), "must specify a positive target averageValue"));
                }
                ("External" | "Object", false, false) => {
                    causes.push(required(
                        target.field("averageValue"),
                        "must set either a target value for metric or a per-pod target",
                    ));
                }
                ("External", true, true) => {
                    let why = "may not set both a target value for metric and a per-pod target";
                    causes.push(forbidden(target.field("value"), why));
                }
                _ => {}
            }
        }
    }
}

fn check_metric_name(source: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let at = at.field("metric");
    match text(source, "/metric/name") {
        "" => causes.push(required(at.field("name"), "must specify a metric name")),
        name => causes.extend(complaints(at.field("name"), name, path_segment(name))),
    }
    causes.extend(validate_label_selector(source.pointer("/metric/selector"), &at.field("selector")));
}

fn check_target(target: &Value, at: &Path, causes: &mut Vec<Cause>) {
    match text(target, "/type") {
        "" => causes.push(required(at.field("type"), "must specify a metric target type")),
        "AverageValue" | "Utilization" | "Value" => {}
        other => causes.push(invalid_text(at.field("type"), other, "must be either Utilization, Value, or AverageValue")),
    }
    for field in ["value", "averageValue"] {
        if let Some(amount) = target.get(field).filter(|amount| !amount.is_null())
            && !Quantity::from_value(amount).is_ok_and(|amount| !amount.is_negative() && !amount.is_zero())
        {
            causes.push(invalid(at.field(field), amount, "must be positive"));
        }
    }
    if let Some(percent) = int(target, "/averageUtilization").filter(|percent| *percent < 1) {
        causes.push(invalid(at.field("averageUtilization"), &percent.into(), "must be greater than 0"));
    }
}

fn check_rules(rules: &Value, at: &Path, causes: &mut Vec<Cause>) {
    if let Some(seconds) = int(rules, "/stabilizationWindowSeconds") {
        let at = at.field("stabilizationWindowSeconds");
        if seconds < 0 {
            causes.push(invalid(at, &seconds.into(), "must be greater than or equal to zero"));
        } else if seconds > MAX_WINDOW {
            causes.push(invalid(at, &seconds.into(), format!("must be less than or equal to {MAX_WINDOW}")));
        }
    }
    let choices = ["Disabled", "Max", "Min"];
    causes.extend(one_of(at.field("selectPolicy"), text(rules, "/selectPolicy"), &choices));
    let (path, policies) = (at.field("policies"), list(rules, "/policies"));
    if policies.is_empty() {
        causes.push(required(path, "must specify at least one Policy"));
    }
    for (index, policy) in policies.iter().enumerate() {
        let at = path.index(index);
        causes.extend(required_one_of(at.field("type"), text(policy, "/type"), &["Percent", "Pods"]));
        for field in ["value", "periodSeconds"] {
            let value = int(policy, &format!("/{field}")).unwrap_or(0);
            if value <= 0 {
                causes.push(invalid(at.field(field), &value.into(), "must be greater than zero"));
            } else if field == "periodSeconds" && value > MAX_PERIOD {
                causes.push(invalid(at.field(field), &value.into(), format!("must be less than or equal to {MAX_PERIOD}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::autoscaler;
    use super::*;

    #[test]
    fn every_wrong_field_of_an_autoscaler_is_named() {
        for (spec, field) in [
            (json!({"minReplicas": 0}), "spec.minReplicas"),
            (json!({"minReplicas": 5}), "spec.maxReplicas"),
            (json!({"scaleTargetRef": {"kind": "Deployment"}}), "spec.scaleTargetRef.name"),
            (json!({"metrics": [{"type": "Moon"}]}), "spec.metrics[0].type"),
            (json!({"metrics": [{"type": "Pods"}]}), "spec.metrics[0].pods"),
            (
                json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]}),
                "spec.metrics[0].resource.target.averageUtilization",
            ),
            (
                json!({"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1}]}}}),
                "spec.behavior.scaleDown.policies[0].value",
            ),
        ] {
            let causes = validate(&autoscaler(spec));
            assert_eq!(causes.first().map(|cause| cause.field.as_str()), Some(field));
        }
    }
}
