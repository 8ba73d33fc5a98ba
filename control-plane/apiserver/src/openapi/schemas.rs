//! Schemas in OpenAPI's words.

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_api::schema::{Field, ListKind, ObjectShape, Schema, SchemaSet, Shape};
use serde_json::{Map, Value, json};

const PREFIX: &str = "#/components/schemas/";

/// The named schemas and all that they refer to.
pub(super) fn reachable(set: &SchemaSet, roots: &[Arc<str>]) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<Arc<str>> = roots.to_vec();
    while let Some(name) = waiting.pop() {
        if found.contains_key(&*name) {
            continue;
        }
        if let Some(published) = set.published(&name) {
            references(published, &mut waiting);
            found.insert(name.to_string(), Value::clone(published));
            continue;
        }
        let Some(schema) = set.get(&name) else { continue };
        found.insert(name.to_string(), write(schema, &mut waiting));
    }
    found
}

/// The names that a published schema refers to.
fn references(schema: &Value, names: &mut Vec<Arc<str>>) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match value.as_str().filter(|_| key == "$ref").and_then(|reference| reference.strip_prefix(PREFIX)) {
                    Some(name) => names.push(name.into()),
                    None => references(value, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        _ => {}
    }
}

fn write(schema: &Schema, refs: &mut Vec<Arc<str>>) -> Value {
    let mut value = shape(&schema.shape, refs);
    if let (Some(description), Some(object)) = (&schema.description, value.as_object_mut()) {
        object.insert("description".to_owned(), json!(description));
    }
    value
}

fn shape(shape: &Shape, refs: &mut Vec<Arc<str>>) -> Value {
    let formatted = |kind: &str, format: &Option<Arc<str>>| match format {
        Some(format) => json!({"type": kind, "format": format}),
        None => json!({"type": kind}),
    };
    match shape {
        Shape::Ref(name) => {
            refs.push(name.clone());
            json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]})
        }
        Shape::Object(object) => object_value(object, refs),
        Shape::Map { values, atomic } => {
            let mut map = json!({"type": "object", "additionalProperties": write(values, refs)});
            if *atomic {
                map["x-kubernetes-map-type"] = json!("atomic");
            }
            map
        }
        Shape::List { items, kind } => {
            let mut list = json!({"type": "array", "items": write(items, refs)});
            match kind {
                ListKind::Atomic => list["x-kubernetes-list-type"] = json!("atomic"),
                ListKind::Set => list["x-kubernetes-list-type"] = json!("set"),
                ListKind::Map { keys } => {
                    list["x-kubernetes-list-type"] = json!("map");
                    list["x-kubernetes-list-map-keys"] = json!(keys);
                }
            }
            list
        }
        Shape::String { format, enumeration } => {
            let mut text = formatted("string", format);
            if !enumeration.is_empty() {
                text["enum"] = json!(enumeration);
            }
            text
        }
        Shape::Integer { format } => formatted("integer", format),
        Shape::Number { format } => formatted("number", format),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::IntOrString => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        Shape::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Shape::Any => json!({}),
    }
}

fn object_value(object: &ObjectShape, refs: &mut Vec<Arc<str>>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, field) in &object.fields {
        properties.insert(name.to_string(), field_value(field, refs));
        if field.required {
            required.push(name.clone());
        }
    }
    let mut value = json!({"type": "object"});
    if !properties.is_empty() {
        value["properties"] = Value::Object(properties);
    }
    if !required.is_empty() {
        value["required"] = json!(required);
    }
    if object.atomic {
        value["x-kubernetes-map-type"] = json!("atomic");
    }
    if object.preserve_unknown {
        value["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }
    if !object.kinds.is_empty() {
        let kinds: Vec<Value> =
            object.kinds.iter().map(|kind| json!({"group": kind.group, "version": kind.version, "kind": kind.kind})).collect();
        value["x-kubernetes-group-version-kind"] = json!(kinds);
    }
    value
}

fn field_value(field: &Field, refs: &mut Vec<Arc<str>>) -> Value {
    let mut value = write(&field.schema, refs);
    if let Some(default) = &field.default {
        value["default"] = default.clone();
    }
    let patch = &field.patch;
    let strategy = match (patch.merge, patch.retain_keys) {
        (true, true) => Some("merge,retainKeys"),
        (true, false) => Some("merge"),
        (false, true) => Some("retainKeys"),
        (false, false) => None,
    };
    if let Some(strategy) = strategy {
        value["x-kubernetes-patch-strategy"] = json!(strategy);
    }
    if let Some(key) = &patch.merge_key {
        value["x-kubernetes-patch-merge-key"] = json!(key);
    }
    value
}
