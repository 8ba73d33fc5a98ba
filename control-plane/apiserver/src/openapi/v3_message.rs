//! OpenAPI v3 as protobuf, by the field numbers of gnostic's `openapi.v3` package.

use serde_json::{Map, Value};

use super::message::{any, extensions, flag, named, text, texts};
use crate::protobuf::wire::{put_bytes, put_double, put_integer, put_message};

/// `openapi.v3.Document`.
pub(super) fn document(document: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 18);
    text(&mut out, 1, document.get("openapi"));
    if let Some(info) = document.get("info").and_then(Value::as_object) {
        put_message(&mut out, 2, |out| {
            text(out, 1, info.get("title"));
            text(out, 2, info.get("description"));
            text(out, 6, info.get("version"));
            extensions(out, 7, info);
        });
    }
    put_message(&mut out, 4, |out| named(out, 1, document.get("paths"), path_item));
    let schemas = document.pointer("/components/schemas");
    put_message(&mut out, 5, |out| put_message(out, 1, |out| named(out, 1, schemas, or_reference)));
    out
}

/// `SchemaOrReference`.
fn or_reference(out: &mut Vec<u8>, object: &Map<String, Value>) {
    match object.get("$ref") {
        Some(reference) => put_message(out, 2, |out| {
            text(out, 1, Some(reference));
            text(out, 2, object.get("summary"));
            text(out, 3, object.get("description"));
        }),
        None => put_message(out, 1, |out| schema(out, object)),
    }
}

fn schema_at(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    if let Some(object) = value.and_then(Value::as_object) {
        put_message(out, number, |out| or_reference(out, object));
    }
}

fn schemas_at(out: &mut Vec<u8>, number: u32, list: Option<&Value>) {
    list.and_then(Value::as_array).into_iter().flatten().for_each(|item| schema_at(out, number, Some(item)));
}

fn path_item(out: &mut Vec<u8>, item: &Map<String, Value>) {
    text(out, 2, item.get("summary"));
    text(out, 3, item.get("description"));
    let methods = [(4, "get"), (5, "put"), (6, "post"), (7, "delete"), (8, "options"), (9, "head"), (10, "patch"), (11, "trace")];
    for (number, method) in methods {
        if let Some(found) = item.get(method).and_then(Value::as_object) {
            put_message(out, number, |out| operation(out, found));
        }
    }
    parameters(out, 13, item.get("parameters"));
    extensions(out, 14, item);
}

fn operation(out: &mut Vec<u8>, operation: &Map<String, Value>) {
    texts(out, 1, operation.get("tags"));
    text(out, 2, operation.get("summary"));
    text(out, 3, operation.get("description"));
    text(out, 5, operation.get("operationId"));
    parameters(out, 6, operation.get("parameters"));
    if let Some(body) = operation.get("requestBody").and_then(Value::as_object) {
        put_message(out, 7, |out| put_message(out, 1, |out| request_body(out, body)));
    }
    put_message(out, 8, |out| named(out, 2, operation.get("responses"), response));
    flag(out, 10, operation.get("deprecated"));
    extensions(out, 13, operation);
}

/// `ParameterOrReference` around `Parameter`.
fn parameters(out: &mut Vec<u8>, number: u32, list: Option<&Value>) {
    for parameter in list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        put_message(out, number, |out| {
            put_message(out, 1, |out| {
                for (number, key) in [(1, "name"), (2, "in"), (3, "description")] {
                    text(out, number, parameter.get(key));
                }
                flag(out, 4, parameter.get("required"));
                schema_at(out, 10, parameter.get("schema"));
                extensions(out, 14, parameter);
            });
        });
    }
}

fn request_body(out: &mut Vec<u8>, body: &Map<String, Value>) {
    text(out, 1, body.get("description"));
    content(out, 2, body.get("content"));
    flag(out, 3, body.get("required"));
    extensions(out, 4, body);
}

/// `ResponseOrReference` around `Response`.
fn response(out: &mut Vec<u8>, response: &Map<String, Value>) {
    put_message(out, 1, |out| {
        text(out, 1, response.get("description"));
        content(out, 3, response.get("content"));
        extensions(out, 5, response);
    });
}

/// `MediaTypes`.
fn content(out: &mut Vec<u8>, number: u32, content: Option<&Value>) {
    if content.is_some() {
        put_message(out, number, |out| named(out, 1, content, |out, media| schema_at(out, 1, media.get("schema"))));
    }
}

fn schema(out: &mut Vec<u8>, object: &Map<String, Value>) {
    let get = |key: &str| object.get(key);
    for (number, key) in [(1, "nullable"), (3, "readOnly"), (4, "writeOnly"), (8, "deprecated")] {
        flag(out, number, get(key));
    }
    if let Some(example) = get("example") {
        any(out, 7, example);
    }
    text(out, 9, get("title"));
    for (number, key) in [(10, "multipleOf"), (11, "maximum"), (13, "minimum")] {
        if let Some(value) = get(key).and_then(Value::as_f64) {
            put_double(out, number, value);
        }
    }
    for (number, key) in [(12, "exclusiveMaximum"), (14, "exclusiveMinimum"), (20, "uniqueItems")] {
        flag(out, number, get(key));
    }
    let counts =
        [(15, "maxLength"), (16, "minLength"), (18, "maxItems"), (19, "minItems"), (21, "maxProperties"), (22, "minProperties")];
    for (number, key) in counts {
        if let Some(value) = get(key).and_then(Value::as_u64) {
            put_integer(out, number, value);
        }
    }
    for (number, key) in [(17, "pattern"), (25, "type"), (34, "description"), (35, "format")] {
        text(out, number, get(key));
    }
    texts(out, 23, get("required"));
    get("enum").and_then(Value::as_array).into_iter().flatten().for_each(|value| any(out, 24, value));
    for (number, key) in [(26, "allOf"), (27, "oneOf"), (28, "anyOf")] {
        schemas_at(out, number, get(key));
    }
    if let Some(not) = get("not").and_then(Value::as_object) {
        put_message(out, 29, |out| schema(out, not));
    }
    if get("items").is_some() {
        put_message(out, 30, |out| schema_at(out, 1, get("items")));
    }
    if get("properties").is_some() {
        put_message(out, 31, |out| named(out, 1, get("properties"), or_reference));
    }
    match get("additionalProperties") {
        Some(Value::Bool(allowed)) => put_message(out, 32, |out| put_integer(out, 2, u64::from(*allowed))),
        Some(values) => put_message(out, 32, |out| schema_at(out, 1, Some(values))),
        None => {}
    }
    if let Some(value) = get("default") {
        put_message(out, 33, |out| default(out, value));
    }
    extensions(out, 36, object);
}

/// `DefaultType` knows scalars only; of an object or a list it says no more than that there is a default.
fn default(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => put_double(out, 1, number.as_f64().unwrap_or_default()),
        Value::Bool(flag) => put_integer(out, 2, u64::from(*flag)),
        Value::String(text) => put_bytes(out, 3, text.as_bytes()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::openapi::message::testing::at;

    #[test]
    fn clients_find_paths_and_schemas_where_gnostic_puts_them() {
        let kinds = json!([{"group": "apps", "kind": "Deployment", "version": "v1"}]);
        let reference = json!({"$ref": "#/components/schemas/x.Spec"});
        let bytes = document(&json!({
            "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1"},
            "paths": {"/a": {"patch": {
                "parameters": [{"name": "force", "in": "query", "schema": {"type": "boolean"}}],
                "requestBody": {"required": true, "content": {"application/merge-patch+json": {"schema": reference}}},
                "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
                "x-kubernetes-action": "patch"}}},
            "components": {"schemas": {"x.Deployment": {
                "type": "object", "required": ["spec"], "x-kubernetes-group-version-kind": kinds,
                "properties": {"spec": {"allOf": [reference], "default": {}}, "word": {"default": "w", "enum": ["w"]}},
                "additionalProperties": {"items": {"type": "string"}}}}},
        }));
        assert_eq!(at(&bytes, &[1]), b"3.0.0");
        assert_eq!(at(&bytes, &[2, 6]), b"v1");
        assert_eq!(at(&bytes, &[4, 1, 1]), b"/a");
        let patch = at(&bytes, &[4, 1, 2, 10]);
        assert_eq!((at(patch, &[6, 1, 1]), at(patch, &[6, 1, 10, 1, 25])), (&b"force"[..], &b"boolean"[..]));
        assert_eq!(at(patch, &[7, 1, 2, 1, 1]), b"application/merge-patch+json");
        assert_eq!(at(patch, &[7, 1, 2, 1, 2, 1, 2, 1]), b"#/components/schemas/x.Spec");
        assert_eq!((at(patch, &[8, 2, 1]), at(patch, &[8, 2, 2, 1, 1])), (&b"200"[..], &b"OK"[..]));
        assert_eq!(at(patch, &[8, 2, 2, 1, 3, 1, 2, 1, 2, 1]), b"#/components/schemas/x.Spec");
        assert_eq!(at(patch, &[13, 2, 2]), b"\"patch\"");
        assert_eq!(at(&bytes, &[5, 1, 1, 1]), b"x.Deployment");
        let deployment = at(&bytes, &[5, 1, 1, 2, 1]);
        assert_eq!((at(deployment, &[25]), at(deployment, &[23])), (&b"object"[..], &b"spec"[..]));
        let spec = at(deployment, &[31, 1, 2, 1]);
        assert_eq!((at(spec, &[26, 2, 1]), at(spec, &[33])), (&b"#/components/schemas/x.Spec"[..], &b""[..]));
        assert_eq!(at(deployment, &[32, 1, 1, 30, 1, 1, 25]), b"string");
        assert_eq!(serde_json::from_slice::<Value>(at(deployment, &[36, 2, 2])).expect("JSON"), kinds);
    }
}
