//! Leaves out of a document what its schema does not know.

use serde_json::Value;

use super::{Schema, SchemaSet, Shape};

/// Removes the fields that the schema `name` does not have: Kubernetes stores none of them, whatever `fieldValidation` says.
pub fn prune(set: &SchemaSet, name: &str, value: &mut Value) {
    if let Some(schema) = set.get(name) {
        prune_value(set, schema, value);
    }
}

fn prune_value(set: &SchemaSet, schema: &Schema, value: &mut Value) {
    match (&set.resolve(schema).shape, value) {
        (Shape::Object(shape), Value::Object(fields)) => {
            if !shape.preserve_unknown {
                fields.retain(|name, _| shape.fields.contains_key(name.as_str()));
            }
            for (name, value) in fields {
                if let Some(field) = shape.fields.get(name.as_str()) {
                    prune_value(set, &field.schema, value);
                }
            }
        }
        (Shape::Map { values, .. }, Value::Object(entries)) => {
            entries.values_mut().for_each(|value| prune_value(set, values, value));
        }
        (Shape::List { items, .. }, Value::Array(list)) => list.iter_mut().for_each(|item| prune_value(set, items, item)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::builtin;
    use super::*;

    #[test]
    fn what_the_schema_does_not_know_goes_and_the_rest_stays() {
        let known = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"any": "x"}},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "resources": {"limits": {"a.b/c": 1}}}]}}}});
        let mut document = known.clone();
        document["foo"] = json!(1);
        document["metadata"]["bar"] = json!({});
        document["spec"]["template"]["spec"]["containers"][0]["imge"] = json!("x");
        prune(builtin(), "io.k8s.api.apps.v1.Deployment", &mut document);
        assert_eq!(document, known);
    }

    #[test]
    fn wrong_types_are_left_alone() {
        for value in [json!(null), json!([1]), json!({"spec": [], "metadata": "x"})] {
            let mut pruned = value.clone();
            prune(builtin(), "io.k8s.api.core.v1.Pod", &mut pruned);
            assert_eq!(pruned, value);
        }
    }
}
