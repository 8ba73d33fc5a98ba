//! Schemas of custom kinds in v2, less what kubectl cannot read there (`apiextensions-apiserver`, `controller/openapi/v2`).

use serde_json::{Map, Value, json};

use super::{name_reference, reference};

const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";

/// The schema of a kind, or of its lists.
pub(super) fn root(value: Value) -> Value {
    const KINDS: &str = "x-kubernetes-group-version-kind";
    // Beside any known field, kubectl would refuse those that are not.
    if value[PRESERVES] == true {
        return json!({"type": "object", KINDS: value[KINDS]});
    }
    schema(value)
}

fn schema(value: Value) -> Value {
    let Value::Object(mut object) = value else { return value };
    name_reference(&mut object);
    for junctor in ["oneOf", "anyOf", "not"] {
        object.remove(junctor);
    }
    let is_nullable = |value: &Value| value["nullable"] == true;
    let preserves = object.get(PRESERVES) == Some(&Value::Bool(true));
    let nullable = object.remove("nullable") == Some(Value::Bool(true));
    if nullable || preserves {
        object.remove("items");
        object.remove("properties");
    }
    let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
    if nullable || (kind == "array" && !object.contains_key("items")) || (kind == "object" && preserves) {
        object.remove("type");
    }
    let nullable: Vec<String> = match object.get("properties") {
        Some(Value::Object(properties)) => {
            properties.iter().filter(|(_, field)| is_nullable(field)).map(|(name, _)| name.clone()).collect()
        }
        _ => Vec::new(),
    };
    if let Some(Value::Array(required)) = object.get_mut("required") {
        required.retain(|name| !nullable.iter().any(|nullable| name == nullable));
        if required.is_empty() || object.get("additionalProperties").is_some_and(is_nullable) {
            object.remove("required");
        }
    }
    let converted = object.into_iter().map(|(key, value)| match key.as_str() {
        "$ref" => (key, reference(&value)),
        "properties" => (key, fields(value)),
        "items" | "additionalProperties" => (key, schema(value)),
        _ => (key, value),
    });
    Value::Object(converted.collect::<Map<_, _>>())
}

fn fields(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, field)| (name, schema(field))).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_clients_cannot_read_is_left_out() {
        let wide = json!({"type": "object", "required": ["a", "n"], "not": {}, "properties": {
            "a": {"type": "string", "default": "x", "minLength": 1, "anyOf": [{"pattern": "x"}]},
            "n": {"type": "object", "nullable": true, "properties": {"b": {"type": "string"}}},
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "free": {"type": "object", PRESERVES: true, "properties": {"b": {"type": "string"}}},
            "list": {"type": "array", PRESERVES: true, "items": {"type": "string"}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "oneOf": [{"required": ["x"]}]}},
            "metadata": {"description": "m", "allOf": [{"$ref": "#/components/schemas/a.ObjectMeta"}]},
        }});
        let narrow = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string", "default": "x", "minLength": 1},
            "n": {},
            "port": {"x-kubernetes-int-or-string": true},
            "free": {PRESERVES: true},
            "list": {PRESERVES: true},
            "map": {"type": "object", "additionalProperties": {"type": "object"}},
            "metadata": {"description": "m", "$ref": "#/definitions/a.ObjectMeta"},
        }});
        assert_eq!(root(wide), narrow);
    }

    #[test]
    fn a_kind_that_takes_anything_says_nothing_of_its_fields() {
        let kinds = json!([{"group": "g", "version": "v1", "kind": "K"}]);
        let wide = json!({"type": "object", PRESERVES: true, "properties": {"spec": {"type": "object"}},
            "x-kubernetes-group-version-kind": kinds});
        assert_eq!(root(wide), json!({"type": "object", "x-kubernetes-group-version-kind": kinds}));
    }
}
