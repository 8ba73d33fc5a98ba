//! Constant defaults of a schema, written into a document, and the canonical form of what has one.

use serde_json::{Map, Value};

use super::{Schema, SchemaSet, Shape};
use crate::quantity::Quantity;

/// Fills in the constant defaults of the schema `name`, drops `null`s of known fields (to Kubernetes they are absent),
/// and writes quantities in their canonical form (`0.5` becomes `500m`), as all readers expect them.
pub fn apply_defaults(set: &SchemaSet, name: &str, value: &mut Value) {
    if let Some(schema) = set.get(name) {
        fill(set, schema, value);
    }
}

fn fill(set: &SchemaSet, schema: &Schema, value: &mut Value) {
    match (&set.resolve(schema).shape, value) {
        (Shape::Object(shape), Value::Object(object)) => {
            object.retain(|key, value| !value.is_null() || !shape.fields.contains_key(key.as_str()));
            for (key, child) in object.iter_mut() {
                if let Some(field) = shape.fields.get(key.as_str()) {
                    fill(set, &field.schema, child);
                }
            }
            for (key, field) in &shape.fields {
                if let Some(default) = &field.default
                    && !is_empty(default)
                    && !object.contains_key(&**key)
                {
                    object.insert(key.to_string(), default.clone());
                }
            }
        }
        (Shape::Map { values, .. }, Value::Object(object)) => each(set, values, object),
        (Shape::Quantity, value) => canonicalize(value),
        (Shape::List { items, .. }, Value::Array(list)) => list.iter_mut().for_each(|item| fill(set, items, item)),
        _ => {}
    }
}

/// What is no quantity is left for the checks to name.
fn canonicalize(value: &mut Value) {
    let Ok(quantity) = Quantity::from_value(value) else { return };
    let canonical = quantity.to_string();
    if value.as_str() != Some(canonical.as_str()) {
        *value = Value::String(canonical);
    }
}

fn each(set: &SchemaSet, values: &Schema, object: &mut Map<String, Value>) {
    if matches!(values.shape, Shape::String { .. }) {
        // Go reads a null text as the empty one.
        object.values_mut().filter(|value| value.is_null()).for_each(|value| *value = "".into());
        return;
    }
    // Other maps of scalars have nothing to fill in.
    if matches!(values.shape, Shape::Ref(_) | Shape::Object(_) | Shape::List { .. } | Shape::Map { .. }) {
        object.values_mut().for_each(|value| fill(set, values, value));
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(flag) => !flag,
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_written_in_canonical_form() {
        let resources = |cpu: Value, memory: Value| json!({"spec": {"containers": [{"resources": {"limits": {"cpu": cpu, "memory": memory}}}], "overhead": {"cpu": "bad"}}});
        let mut pod = resources(json!(0.5), json!("1024Mi"));
        apply_defaults(super::super::builtin(), "io.k8s.api.core.v1.Pod", &mut pod);
        assert_eq!(pod, resources(json!("500m"), json!("1Gi")));
    }

    #[test]
    fn constant_defaults_are_filled_in_at_any_depth_and_nothing_else_changes() {
        let mut service =
            json!({"spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "unknown": null}]}, "status": null, "x": 1});
        apply_defaults(super::super::builtin(), "io.k8s.api.core.v1.Service", &mut service);
        assert_eq!(
            service,
            json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "unknown": null}]}, "x": 1})
        );
        let mut pod = json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1}]}]}});
        apply_defaults(super::super::builtin(), "io.k8s.api.core.v1.Pod", &mut pod);
        assert_eq!(pod, json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1, "protocol": "TCP"}]}]}}));
    }
}
