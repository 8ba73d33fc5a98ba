//! What OpenAPI publishes of a custom kind: the definition's own schema with what every object has besides.

use mizzen_api::GroupVersionKind;
use serde_json::{Map, Value, json};

const PREFIX: &str = "#/components/schemas/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Whether documents come back from the store as they went in: no newer schema prunes them or fills in defaults.
pub fn keeps_everything(schema: &Value) -> bool {
    let has_properties = schema.get("properties").and_then(Value::as_object).is_some_and(|properties| !properties.is_empty());
    schema["x-kubernetes-preserve-unknown-fields"] == true && !has_properties && schema["default"].is_null()
}

/// The schema of the kind itself, from the definition's `openAPIV3Schema`.
pub fn published(schema: Value, kind: &GroupVersionKind) -> Value {
    let mut schema = if schema.is_object() { schema } else { json!({"type": "object"}) };
    unfold(&mut schema);
    if let Some(properties) = schema.as_object_mut().map(|schema| schema.entry("properties").or_insert_with(|| json!({})))
        && let Some(properties) = properties.as_object_mut()
    {
        add_object_fields(properties);
    }
    schema["x-kubernetes-group-version-kind"] = json!([kind_of(kind)]);
    schema
}

/// The schema of the kind's list; `item` is the name of the kind's schema.
pub fn published_list(item: &str, kind: &GroupVersionKind, list_kind: &str) -> Value {
    json!({
        "description": format!("{list_kind} is a list of {}", kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": type_field(API_VERSION),
            "items": {"description": format!("List of {}.", kind.kind), "type": "array",
                      "items": {"$ref": format!("{PREFIX}{item}")}},
            "kind": type_field(KIND),
            "metadata": {"description": "Standard list metadata.", "allOf": [{"$ref": format!("{PREFIX}{META}.ListMeta")}]},
        },
        "x-kubernetes-group-version-kind": [
            {"group": kind.group, "version": kind.version, "kind": list_kind},
        ],
    })
}

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object.";
const KIND: &str = "Kind is a string value representing the REST resource this object represents.";

fn type_field(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn kind_of(kind: &GroupVersionKind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn add_object_fields(properties: &mut Map<String, Value>) {
    properties.insert("apiVersion".to_owned(), type_field(API_VERSION));
    properties.insert("kind".to_owned(), type_field(KIND));
    let metadata =
        json!({"description": "Standard object's metadata.", "allOf": [{"$ref": format!("{PREFIX}{META}.ObjectMeta")}]});
    properties.insert("metadata".to_owned(), metadata);
}

/// Says what a structural schema only implies: what an embedded object has, and what may be either.
fn unfold(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    for (key, value) in object.iter_mut() {
        match key.as_str() {
            "properties" => value.as_object_mut().into_iter().flat_map(|map| map.values_mut()).for_each(unfold),
            "items" | "additionalProperties" => unfold(value),
            _ => {}
        }
    }
    let is = |object: &Map<String, Value>, key: &str| object.get(key) == Some(&Value::Bool(true));
    if is(object, "x-kubernetes-int-or-string") && !object.contains_key("anyOf") && !object.contains_key("allOf") {
        object.insert("anyOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
    }
    if is(object, "x-kubernetes-embedded-resource") {
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            add_object_fields(properties);
        }
        if let Some(required) = object.entry("required").or_insert_with(|| json!([])).as_array_mut() {
            for name in ["kind", "apiVersion"] {
                if !required.iter().any(|known| known == name) {
                    required.push(name.into());
                }
            }
        }
    }
}
