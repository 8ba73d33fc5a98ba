//! OpenAPI v3 out of v2, for API servers behind an APIService that know only the older one. The counterpart of
//! [`super::v2`].

use serde_json::{Map, Value, json};

/// A document of v3 with the paths and definitions of one of v2.
pub(super) fn document(v2: &Value) -> Value {
    let list = |field: &str| v2.get(field).cloned().unwrap_or_else(|| json!(["application/json"]));
    let types = Types { consumed: list("consumes"), produced: list("produces") };
    let paths = v2["paths"].as_object().into_iter().flatten().map(|(path, item)| (path.clone(), path_item(item, &types)));
    let schemas = v2["definitions"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), schema(value)));
    json!({
        "openapi": "3.0.0", "info": v2["info"], "paths": paths.collect::<Map<_, _>>(),
        "components": {"schemas": schemas.collect::<Map<_, _>>()},
    })
}

/// The media types of operations that name none.
struct Types {
    consumed: Value,
    produced: Value,
}

fn path_item(item: &Value, types: &Types) -> Value {
    let converted = item.as_object().into_iter().flatten().map(|(key, value)| match key.as_str() {
        "parameters" => (key.clone(), parameters(value)),
        key if key.starts_with("x-") => (key.to_owned(), value.clone()),
        _ => (key.clone(), operation(value, types)),
    });
    Value::Object(converted.collect())
}

fn operation(value: &Value, types: &Types) -> Value {
    let Value::Object(mut operation) = value.clone() else { return value.clone() };
    let consumed = operation.remove("consumes").unwrap_or_else(|| types.consumed.clone());
    let produced = operation.remove("produces").unwrap_or_else(|| types.produced.clone());
    operation.remove("schemes");
    if let Some(all) = operation.remove("parameters") {
        let body = all.as_array().into_iter().flatten().find(|parameter| parameter["in"] == "body");
        if let Some(body) = body {
            let required = body["required"] == true;
            let body = json!({"required": required, "content": content(&consumed, &body["schema"])});
            operation.insert("requestBody".to_owned(), body);
        }
        operation.insert("parameters".to_owned(), parameters(&all));
    }
    for response in operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        let Some(response) = response.as_object_mut() else { continue };
        if let Some(answered) = response.remove("schema") {
            response.insert("content".to_owned(), content(&produced, &answered));
        }
    }
    Value::Object(operation)
}

fn content(types: &Value, value: &Value) -> Value {
    let types = types.as_array().into_iter().flatten().filter_map(Value::as_str);
    types.map(|media_type| (media_type.to_owned(), json!({"schema": schema(value)}))).collect()
}

/// All but the body, which is no parameter any more.
fn parameters(value: &Value) -> Value {
    let all = value.as_array().into_iter().flatten().filter(|parameter| parameter["in"] != "body");
    let converted = all.map(|parameter| {
        let (mut own, mut of_value) = (Map::new(), Map::new());
        for (key, value) in parameter.as_object().into_iter().flatten() {
            match key.as_str() {
                "name" | "in" | "required" | "description" => own.insert(key.clone(), value.clone()),
                _ => of_value.insert(key.clone(), value.clone()),
            };
        }
        own.insert("schema".to_owned(), schema(&Value::Object(of_value)));
        Value::Object(own)
    });
    converted.collect()
}

fn schema(value: &Value) -> Value {
    let Value::Object(object) = value else { return value.clone() };
    let mut converted = Map::new();
    let mut reference = None;
    for (key, value) in object {
        let value = match key.as_str() {
            "$ref" => {
                let name = value.as_str().and_then(|text| text.strip_prefix("#/definitions/")).unwrap_or_default();
                reference = Some(json!({"$ref": format!("#/components/schemas/{name}")}));
                continue;
            }
            "properties" => value.as_object().into_iter().flatten().map(|(name, field)| (name.clone(), schema(field))).collect(),
            "items" | "additionalProperties" => schema(value),
            _ => value.clone(),
        };
        converted.insert(key.clone(), value);
    }
    if converted.get("format").is_some_and(|format| format == "int-or-string") {
        converted.remove("type");
        converted.insert("oneOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
    }
    match reference {
        // Beside a reference nothing may stand.
        Some(reference) if converted.is_empty() => reference,
        Some(reference) => {
            converted.insert("allOf".to_owned(), json!([reference]));
            Value::Object(converted)
        }
        None => Value::Object(converted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_the_older_kind_becomes_one_of_the_newer() {
        let v3 = document(&json!({
            "info": {"title": "t"},
            "paths": {"/apis/a/v1/things/{name}": {
                "parameters": [{"name": "name", "in": "path", "required": true, "type": "string"}],
                "put": {
                    "consumes": ["*/*"], "schemes": ["https"],
                    "parameters": [{"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/a.Thing"}}],
                    "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/a.Thing"}}},
                    "x-kubernetes-action": "put",
                },
            }},
            "definitions": {"a.Thing": {"type": "object", "properties": {
                "port": {"type": "string", "format": "int-or-string"},
                "spec": {"description": "s", "$ref": "#/definitions/a.Spec"},
            }}},
        }));
        let path = &v3["paths"]["/apis/a/v1/things/{name}"];
        let name = json!({"name": "name", "in": "path", "required": true, "schema": {"type": "string"}});
        assert_eq!(path["parameters"], json!([name]));
        let thing = json!({"schema": {"$ref": "#/components/schemas/a.Thing"}});
        assert_eq!(path["put"]["requestBody"], json!({"required": true, "content": {"*/*": thing}}));
        assert_eq!(path["put"]["responses"]["200"]["content"], json!({"application/json": thing}));
        assert_eq!(path["put"]["x-kubernetes-action"], "put");
        let properties = &v3["components"]["schemas"]["a.Thing"]["properties"];
        let spec = json!({"description": "s", "allOf": [{"$ref": "#/components/schemas/a.Spec"}]});
        assert_eq!(properties["spec"], spec);
        let port = json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]});
        assert_eq!(properties["port"], port);
    }
}
