//! OpenAPI v2 ("Swagger"), which older clients read: one document over all groups, made out of those of v3.

mod custom;

use serde_json::{Map, Value, json};

/// One document out of many; each has `paths` and `components.schemas`. `is_custom` tells the schemas of custom kinds.
pub(super) fn document(v3: impl Iterator<Item = Value>, is_custom: impl Fn(&str) -> bool) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for mut document in v3 {
        let schemas = document.pointer_mut("/components/schemas").map(Value::take);
        if let Some(Value::Object(schemas)) = schemas {
            definitions.extend(schemas.into_iter().map(|(name, value)| match is_custom(&name) {
                true => (name, custom::root(value)),
                false => (name, schema(value)),
            }));
        }
        if let Some(Value::Object(found)) = document.get_mut("paths").map(Value::take) {
            paths.extend(found.into_iter().map(|(path, item)| (path, path_item(item))));
        }
    }
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": crate::version::GIT_VERSION},
        "paths": paths, "definitions": definitions,
    })
}

fn path_item(item: Value) -> Value {
    let Value::Object(item) = item else { return item };
    let converted = item.into_iter().map(|(key, value)| match key.as_str() {
        "parameters" => (key, parameters(value)),
        _ => (key, operation(value)),
    });
    Value::Object(converted.collect())
}

fn parameters(value: Value) -> Value {
    let Value::Array(list) = value else { return value };
    list.into_iter()
        .map(|mut parameter| {
            if let Some(object) = parameter.as_object_mut()
                && let Some(Value::Object(schema)) = object.remove("schema")
            {
                object.extend(schema);
            }
            parameter
        })
        .collect()
}

fn operation(value: Value) -> Value {
    let Value::Object(mut operation) = value else { return value };
    let mut all = match operation.remove("parameters").map(parameters) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    if let Some(mut body) = operation.remove("requestBody") {
        let content = body.get_mut("content").map(Value::take).unwrap_or_default();
        let types: Vec<String> = content.as_object().into_iter().flat_map(|content| content.keys().cloned()).collect();
        let mut parameter = json!({"name": "body", "in": "body"});
        if body["required"] == true {
            parameter["required"] = json!(true);
        }
        parameter["schema"] = content_schema(content).unwrap_or_else(|| json!({"type": "object"}));
        all.insert(0, parameter);
        operation.insert("consumes".to_owned(), json!(types));
    } else {
        operation.insert("consumes".to_owned(), json!(["*/*"]));
    }
    if !all.is_empty() {
        operation.insert("parameters".to_owned(), Value::Array(all));
    }
    let content = operation.get("responses").and_then(|responses| responses.get("200")?.get("content")?.as_object());
    let produced: Vec<String> = content.into_iter().flat_map(|content| content.keys().cloned()).collect();
    operation.insert("produces".to_owned(), json!(produced));
    operation.insert("schemes".to_owned(), json!(["https"]));
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        for response in responses.values_mut().filter_map(Value::as_object_mut) {
            if let Some(schema) = response.remove("content").and_then(content_schema) {
                response.insert("schema".to_owned(), schema);
            }
        }
    }
    Value::Object(operation)
}

/// The schema of the first media type.
fn content_schema(content: Value) -> Option<Value> {
    let Value::Object(content) = content else { return None };
    let (_, mut first) = content.into_iter().next()?;
    first.get_mut("schema").map(|value| schema(value.take()))
}

/// What v2 knows of a schema. Defaults are left out, as Kubernetes does: its clients cannot read them.
fn schema(value: Value) -> Value {
    let Value::Object(mut object) = value else { return value };
    let mut converted = Map::new();
    name_reference(&mut object);
    if object.contains_key("oneOf") {
        // A quantity, or an int-or-string: both are text to v2.
        object.insert("type".to_owned(), json!("string"));
    }
    for (key, value) in object {
        let value = match key.as_str() {
            "$ref" => reference(&value),
            "properties" => match value {
                Value::Object(fields) => fields.into_iter().map(|(name, field)| (name, schema(field))).collect(),
                other => other,
            },
            "items" | "additionalProperties" => schema(value),
            "default" | "oneOf" | "anyOf" | "allOf" | "not" | "nullable" => continue,
            _ => value,
        };
        converted.insert(key, value);
    }
    Value::Object(converted)
}

/// A reference beside other fields is the only one of `allOf` in v3.
fn name_reference(object: &mut Map<String, Value>) {
    if let Some(Value::Array(mut all)) = object.remove("allOf")
        && let [one] = all.as_mut_slice()
        && let Some(reference) = one.get_mut("$ref")
    {
        object.insert("$ref".to_owned(), reference.take());
    }
}

fn reference(value: &Value) -> Value {
    let name = value.as_str().and_then(|text| text.rsplit('/').next()).unwrap_or_default();
    json!(format!("#/definitions/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_the_newer_kind_becomes_one_of_the_older() {
        let v3 = json!({
            "paths": {"/api/v1/pods/{name}": {
                "parameters": [{"name": "name", "in": "path", "required": true, "schema": {"type": "string"}}],
                "patch": {
                    "requestBody": {"required": true, "content": {"application/json-patch+json":
                        {"schema": {"$ref": "#/components/schemas/a.Pod"}}}},
                    "responses": {"200": {"description": "OK", "content": {"application/json":
                        {"schema": {"$ref": "#/components/schemas/a.Pod"}}}}},
                    "x-kubernetes-action": "patch",
                },
            }},
            "components": {"schemas": {"a.Pod": {"type": "object", "properties": {
                "port": {"description": "p", "format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
                "spec": {"description": "s", "default": {}, "allOf": [{"$ref": "#/components/schemas/a.Spec"}]},
            }}}},
        });
        let v2 = document(std::iter::once(v3), |_| false);
        let path = &v2["paths"]["/api/v1/pods/{name}"];
        assert_eq!(path["parameters"][0], json!({"name": "name", "in": "path", "required": true, "type": "string"}));
        let body = json!({"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/a.Pod"}});
        assert_eq!(path["patch"]["parameters"][0], body);
        assert_eq!(path["patch"]["responses"]["200"]["schema"]["$ref"], "#/definitions/a.Pod");
        let wanted = json!({"type": "object", "properties": {
            "port": {"description": "p", "format": "int-or-string", "type": "string"},
            "spec": {"description": "s", "$ref": "#/definitions/a.Spec"},
        }});
        assert_eq!(v2["definitions"]["a.Pod"], wanted);
    }
}
