//! `autoscaling/v1`: what it has no fields for stands in annotations, in an older form.

use serde_json::{Map, Value, json};

use super::super::value::{child, int, set, text};
use crate::forms::Form;

pub(super) struct V1;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const TARGET_CPU: &str = "targetCPUUtilizationPercentage";
const CURRENT_CPU: &str = "currentCPUUtilizationPercentage";

impl Form for V1 {
    fn store(&self, object: &mut Value) {
        let metrics = take_annotation(object, METRICS);
        let behavior = take_annotation(object, BEHAVIOR);
        let current = take_annotation(object, CURRENT);
        let conditions = take_annotation(object, CONDITIONS);
        if let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) {
            put_metrics(spec, "metrics", TARGET_CPU, metrics, "target");
            if let Some(behavior) = behavior {
                set(spec, "behavior", behavior);
            }
        }
        let has_status = object.get("status").is_some_and(Value::is_object);
        if (has_status || current.is_some() || conditions.is_some())
            && let Some(status) = child(object, "status")
        {
            put_metrics(status, "currentMetrics", CURRENT_CPU, current, "current");
            if let Some(conditions) = conditions {
                set(status, "conditions", conditions);
            }
        }
    }

    fn show(&self, object: &mut Value) {
        let mut annotations = Vec::new();
        for (part, field, cpu, key, holder) in
            [("spec", "metrics", TARGET_CPU, METRICS, "target"), ("status", "currentMetrics", CURRENT_CPU, CURRENT, "current")]
        {
            if let Some(part) = object.get_mut(part) {
                let others = take_metrics(part, field, cpu, holder);
                annotations.extend((!others.is_empty()).then_some((key, Value::Array(others))));
            }
        }
        for (part, field, key) in [("spec", "behavior", BEHAVIOR), ("status", "conditions", CONDITIONS)] {
            let taken = object.get_mut(part).and_then(Value::as_object_mut).and_then(|part| part.remove(field));
            annotations.extend(taken.map(|value| (key, value)));
        }
        if annotations.is_empty() {
            return;
        }
        if let Some(into) = child(object, "metadata").and_then(|metadata| child(metadata, "annotations")) {
            annotations.into_iter().for_each(|(key, value)| set(into, key, value.to_string()));
        }
    }
}

/// What an annotation says, which then goes; one that is no JSON stays.
fn take_annotation(object: &mut Value, key: &str) -> Option<Value> {
    let metadata = object.get_mut("metadata")?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let value = serde_json::from_str(annotations.get(key)?.as_str()?).ok()?;
    annotations.remove(key);
    if annotations.is_empty()
        && let Some(metadata) = metadata.as_object_mut()
    {
        metadata.remove("annotations");
    }
    Some(value)
}

/// Puts the metrics of an annotation, and after them the processors', where the stored form has them.
fn put_metrics(part: &mut Value, field: &str, cpu: &str, others: Option<Value>, holder: &str) {
    let mut metrics: Vec<Value> =
        others.as_ref().and_then(Value::as_array).into_iter().flatten().map(|metric| newer(metric, holder)).collect();
    if let Some(percent) = part.as_object_mut().and_then(|part| part.remove(cpu)) {
        let mut amounts = json!({"averageUtilization": percent});
        if holder == "target" {
            set(&mut amounts, "type", "Utilization");
        }
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", holder: amounts}}));
    }
    if !metrics.is_empty() {
        set(part, field, metrics);
    }
}

/// Takes out the metrics; the first that is the processors' share gets its own field, the others are given back.
fn take_metrics(part: &mut Value, field: &str, cpu: &str, holder: &str) -> Vec<Value> {
    let metrics = match part.as_object_mut().and_then(|part| part.remove(field)) {
        Some(Value::Array(metrics)) => metrics,
        _ => return Vec::new(),
    };
    let share = |metric: &Value| match text(metric, "/resource/name") {
        "cpu" if text(metric, "/type") == "Resource" => int(metric, &format!("/resource/{holder}/averageUtilization")),
        _ => None,
    };
    let first = metrics.iter().position(|metric| share(metric).is_some());
    if let Some(percent) = first.and_then(|index| share(&metrics[index])) {
        set(part, cpu, percent);
    }
    metrics.iter().enumerate().filter(|(index, _)| Some(*index) != first).map(|(_, metric)| older(metric, holder)).collect()
}

/// The types of metrics, and the field that describes each.
const TYPES: &[(&str, &str)] = &[
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("Pods", "pods"),
    ("Object", "object"),
    ("External", "external"),
];

/// Fields of the older form, and where the newer one has them below the metric's source; `{}` is `target` or `current`.
fn names(kind: &str, holder: &str) -> Vec<(String, String)> {
    let pairs: &[(&str, &str)] = match kind {
        "Resource" | "ContainerResource" => &[
            ("name", "/name"),
            ("container", "/container"),
            ("{}AverageUtilization", "/{}/averageUtilization"),
            ("{}AverageValue", "/{}/averageValue"),
        ],
        "Pods" => &[("metricName", "/metric/name"), ("selector", "/metric/selector"), ("{}AverageValue", "/{}/averageValue")],
        "Object" => &[
            ("target", "/describedObject"),
            ("metricName", "/metric/name"),
            ("selector", "/metric/selector"),
            ("{}Value", "/{}/value"),
            ("averageValue", "/{}/averageValue"),
        ],
        _ => &[
            ("metricName", "/metric/name"),
            ("metricSelector", "/metric/selector"),
            ("{}Value", "/{}/value"),
            ("{}AverageValue", "/{}/averageValue"),
        ],
    };
    pairs.iter().map(|(older, newer)| (older.replace("{}", holder), newer.replace("{}", holder))).collect()
}

fn source_field(metric: &Value) -> Option<(&'static str, &'static str)> {
    TYPES.iter().find(|(kind, _)| *kind == text(metric, "/type")).copied()
}

fn older(metric: &Value, holder: &str) -> Value {
    let Some((kind, field)) = source_field(metric) else { return metric.clone() };
    let source = metric.get(field).unwrap_or(&Value::Null);
    let fields: Map<String, Value> =
        names(kind, holder).into_iter().filter_map(|(older, newer)| Some((older, source.pointer(&newer)?.clone()))).collect();
    json!({"type": kind, field: fields})
}

fn newer(metric: &Value, holder: &str) -> Value {
    let Some((kind, field)) = source_field(metric) else { return metric.clone() };
    let old = metric.get(field).unwrap_or(&Value::Null);
    let mut source = json!({});
    for (older, newer) in names(kind, holder) {
        let Some(value) = old.get(&older) else { continue };
        match newer.trim_start_matches('/').split_once('/') {
            None => set(&mut source, newer.trim_start_matches('/'), value.clone()),
            Some((part, leaf)) => {
                if let Some(part) = child(&mut source, part) {
                    set(part, leaf, value.clone());
                }
            }
        }
    }
    if holder == "target"
        && let Some(target) = child(&mut source, "target")
    {
        let what = match () {
            () if target.get("averageUtilization").is_some() => "Utilization",
            () if target.get("averageValue").is_some() => "AverageValue",
            () => "Value",
        };
        set(target, "type", what);
    }
    json!({"type": kind, field: source})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processors_share_is_a_field_and_the_rest_annotations() {
        let cpu =
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}});
        let pods = json!({"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}});
        let stored = json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "metrics": [pods, cpu], "behavior": {"scaleUp": {}}},
            "status": {"conditions": [{"type": "AbleToScale"}], "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 50}}}]}});
        let mut shown = stored.clone();
        V1.show(&mut shown);
        assert_eq!(shown["spec"], json!({"maxReplicas": 3, TARGET_CPU: 70}));
        assert_eq!(shown["status"], json!({CURRENT_CPU: 50}));
        let annotations = shown["metadata"]["annotations"].as_object().expect("annotations");
        assert_eq!(annotations[METRICS], r#"[{"pods":{"metricName":"rps","targetAverageValue":"10"},"type":"Pods"}]"#);
        assert_eq!(annotations.len(), 3);
        V1.store(&mut shown);
        assert_eq!(shown, stored);
    }

    #[test]
    fn a_plain_autoscaler_of_the_first_version_scales_by_processors() {
        let mut object = json!({"metadata": {}, "spec": {"maxReplicas": 3, TARGET_CPU: 70}});
        V1.store(&mut object);
        assert_eq!(object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
        assert_eq!(object["spec"].get(TARGET_CPU), None);
        assert_eq!(object["metadata"], json!({}));
    }
}
