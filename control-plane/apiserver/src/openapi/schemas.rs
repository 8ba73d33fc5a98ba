//! Schemas in OpenAPI's words.

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_api::schema::{Field, ListKind, ObjectShape, Schema, SchemaSet, Shape};
use serde_json::{Map, Value, json};

use super::published;

const PREFIX: &str = "#/components/schemas/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// All schemas that the paths of a group and version lead to.
pub(super) fn reachable(set: &SchemaSet, paths: &Value, group: &str, version: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<Arc<str>> = Vec::new();
    references(paths, &mut waiting);
    while let Some(name) = waiting.pop() {
        if found.contains_key(&*name) {
            continue;
        }
        if let Some(published) = set.published(&name) {
            let published = published.value();
            references(&published, &mut waiting);
            found.insert(name.to_string(), published);
            continue;
        }
        let mut value = match (name.strip_prefix(META), set.get(&name)) {
            (Some("WatchEvent"), _) => watch_event(),
            (_, Some(schema)) => write(schema),
            (_, None) => continue,
        };
        published::complete(&name, &mut value);
        give_values(set, &name, &mut value);
        references(&value, &mut waiting);
        if matches!(name.strip_prefix(META), Some("DeleteOptions" | "WatchEvent")) {
            value["x-kubernetes-group-version-kind"] = json!(kinds(group, version, &name[META.len()..]));
        }
        found.insert(name.to_string(), value);
    }
    found
}

/// What every group has of its own.
fn kinds(group: &str, version: &str, kind: &str) -> Vec<Value> {
    let own = (!group.is_empty()).then_some((group, version));
    let all = [("", "v1")].into_iter().chain(own);
    all.map(|(group, version)| json!({"group": group, "version": version, "kind": kind})).collect()
}

/// No type of k8s-openapi stands for it.
fn watch_event() -> Value {
    json!({
        "description": "One change that a watch tells of.", "type": "object", "required": ["type", "object"],
        "properties": {
            "type": {"description": "ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.", "type": "string", "default": ""},
            "object": {
                "description": "The object as it is now, as it was last, or a Status.",
                "allOf": [{"$ref": format!("{PREFIX}io.k8s.apimachinery.pkg.runtime.RawExtension")}],
            },
        },
    })
}

/// Metadata, spec and status are structs that are always there.
fn give_values(set: &SchemaSet, name: &str, value: &mut Value) {
    let Some(Shape::Object(object)) = set.get(name).map(|schema| &schema.shape) else { return };
    for field in ["metadata", "spec", "status"] {
        let is_struct = object.fields.get(field).is_some_and(|known| {
            matches!(known.schema.shape, Shape::Ref(_)) && matches!(set.resolve(&known.schema).shape, Shape::Object(_))
        });
        if is_struct && let Some(published) = value.pointer_mut(&format!("/properties/{field}")) {
            published["default"] = json!({});
            wrap(published);
        }
    }
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

fn write(schema: &Schema) -> Value {
    let mut value = shape(&schema.shape);
    if let (Some(description), Some(object)) = (&schema.description, value.as_object_mut()) {
        object.insert("description".to_owned(), json!(description));
    }
    wrap(&mut value);
    value
}

/// Beside a reference nothing may stand.
fn wrap(value: &mut Value) {
    if let Some(object) = value.as_object_mut().filter(|object| object.len() > 1)
        && let Some(reference) = object.remove("$ref")
    {
        object.insert("allOf".to_owned(), json!([{"$ref": reference}]));
    }
}

fn shape(shape: &Shape) -> Value {
    let formatted = |kind: &str, format: &Option<Arc<str>>| match format {
        Some(format) => json!({"type": kind, "format": format}),
        None => json!({"type": kind}),
    };
    match shape {
        Shape::Ref(name) => json!({"$ref": format!("{PREFIX}{name}")}),
        Shape::Object(object) => object_value(object),
        Shape::Map { values, atomic } => {
            let mut values = write(values);
            // Only of fields Kubernetes says who owns what in a list.
            values.as_object_mut().map(|values| values.remove("x-kubernetes-list-type"));
            let mut map = json!({"type": "object", "additionalProperties": values});
            if *atomic {
                map["x-kubernetes-map-type"] = json!("atomic");
            }
            map
        }
        Shape::List { items, kind } => {
            let mut list = json!({"type": "array", "items": write(items)});
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

fn object_value(object: &ObjectShape) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, field) in &object.fields {
        properties.insert(name.to_string(), field_value(field));
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

fn field_value(field: &Field) -> Value {
    let mut value = write(&field.schema);
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
