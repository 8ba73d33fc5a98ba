//! Defaulting: absent fields get their schema's default, and nulls that may not be are dropped or replaced.

use serde_json::{Map, Value};

use super::Structural;

/// Fills in the defaults of a document. A null where the schema allows none counts as absent.
pub fn apply_defaults(schema: &Structural, value: &mut Value) {
    match value {
        Value::Object(object) => {
            drop_nulls(schema, object);
            for (name, schema) in &schema.properties {
                if let Some(default) = &schema.default
                    && !object.contains_key(name)
                {
                    object.insert(name.clone(), default.clone());
                }
            }
            for (key, value) in object.iter_mut() {
                if let Some(schema) = schema.field(key) {
                    apply_defaults(schema, value);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                if let Some(default) = &schema.default
                    && item.is_null()
                    && !schema.nullable
                {
                    item.clone_from(default);
                }
                apply_defaults(schema, item);
            }
        }
        _ => {}
    }
}

fn drop_nulls(schema: &Structural, object: &mut Map<String, Value>) {
    object.retain(|key, value| {
        !value.is_null()
            || schema
                .field(key)
                .is_none_or(|schema| schema.nullable || (schema.kind == super::Type::Any && !schema.int_or_string))
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_fields_get_their_default_at_any_depth() {
        let schema = Structural::parse(&json!({"type": "object", "properties": {"spec": {"type": "object", "default": {},
            "properties": {
                "replicas": {"type": "integer", "default": 1}, "mode": {"type": "string", "default": "a", "nullable": true},
                "plain": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"port": {"type": "integer", "default": 80}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"default": "y"}}}},
        }}}}));
        let mut document = json!({});
        apply_defaults(&schema, &mut document);
        assert_eq!(document, json!({"spec": {"replicas": 1, "mode": "a"}}));
        let mut document =
            json!({"spec": {"replicas": null, "mode": null, "plain": null, "list": [{}, {"port": 1}], "map": {"k": {}}}});
        apply_defaults(&schema, &mut document);
        assert_eq!(
            document,
            json!({"spec": {"replicas": 1, "mode": null, "list": [{"port": 80}, {"port": 1}], "map": {"k": {"x": "y"}}}})
        );
    }
}
