//! The older OpenAPI as protobuf, by the field numbers of gnostic's `openapi.v2` package.

use serde_json::{Map, Value};

use super::message::{any, extensions, flag, named, text, texts};
use crate::protobuf::wire::{put_double, put_integer, put_message};

/// `openapi.v2.Document`.
pub(super) fn document(document: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    text(&mut out, 1, document.get("swagger"));
    if let Some(info) = document.get("info") {
        put_message(&mut out, 2, |out| {
            text(out, 1, info.get("title"));
            text(out, 2, info.get("version"));
        });
    }
    put_message(&mut out, 8, |out| named(out, 2, document.get("paths"), path_item));
    put_message(&mut out, 9, |out| named(out, 1, document.get("definitions"), schema));
    out
}

fn path_item(out: &mut Vec<u8>, item: &Map<String, Value>) {
    for (number, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")] {
        if let Some(found) = item.get(method).and_then(Value::as_object) {
            put_message(out, number, |out| operation(out, found));
        }
    }
    parameters(out, 9, item.get("parameters"));
}

fn operation(out: &mut Vec<u8>, operation: &Map<String, Value>) {
    texts(out, 1, operation.get("tags"));
    text(out, 3, operation.get("description"));
    text(out, 5, operation.get("operationId"));
    texts(out, 6, operation.get("produces"));
    texts(out, 7, operation.get("consumes"));
    parameters(out, 8, operation.get("parameters"));
    put_message(out, 9, |out| named(out, 1, operation.get("responses"), response));
    texts(out, 10, operation.get("schemes"));
    extensions(out, 13, operation);
}

/// `ResponseValue` around a `Response`.
fn response(out: &mut Vec<u8>, response: &Map<String, Value>) {
    put_message(out, 1, |out| {
        text(out, 1, response.get("description"));
        if let Some(found) = response.get("schema").and_then(Value::as_object) {
            put_message(out, 2, |out| put_message(out, 1, |out| schema(out, found)));
        }
    });
}

/// `ParametersItem` around `Parameter`.
fn parameters(out: &mut Vec<u8>, number: u32, list: Option<&Value>) {
    for parameter in list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        let place = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
        put_message(out, number, |out| {
            put_message(out, 1, |out| match place {
                "body" => put_message(out, 1, |out| body_parameter(out, parameter)),
                "path" => put_message(out, 2, |out| put_message(out, 4, |out| plain_parameter(out, parameter, [5, 6, 19]))),
                _ => put_message(out, 2, |out| put_message(out, 3, |out| plain_parameter(out, parameter, [6, 7, 20]))),
            });
        });
    }
}

fn body_parameter(out: &mut Vec<u8>, parameter: &Map<String, Value>) {
    text(out, 1, parameter.get("description"));
    text(out, 2, parameter.get("name"));
    text(out, 3, parameter.get("in"));
    flag(out, 4, parameter.get("required"));
    if let Some(found) = parameter.get("schema").and_then(Value::as_object) {
        put_message(out, 5, |out| schema(out, found));
    }
}

/// The numbers of type, format and uniqueness differ between parameters of paths and of queries.
fn plain_parameter(out: &mut Vec<u8>, parameter: &Map<String, Value>, [kind, format, unique]: [u32; 3]) {
    flag(out, 1, parameter.get("required"));
    text(out, 2, parameter.get("in"));
    text(out, 3, parameter.get("description"));
    text(out, 4, parameter.get("name"));
    text(out, kind, parameter.get("type"));
    text(out, format, parameter.get("format"));
    flag(out, unique, parameter.get("uniqueItems"));
}

fn schema(out: &mut Vec<u8>, object: &Map<String, Value>) {
    let get = |key: &str| object.get(key);
    for (number, key) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description"), (13, "pattern")] {
        text(out, number, get(key));
    }
    if let Some(value) = get("default") {
        any(out, 5, value);
    }
    for (number, key) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        if let Some(value) = get(key).and_then(Value::as_f64) {
            put_double(out, number, value);
        }
    }
    for (number, key) in [(8, "exclusiveMaximum"), (10, "exclusiveMinimum"), (16, "uniqueItems")] {
        flag(out, number, get(key));
    }
    let counts =
        [(11, "maxLength"), (12, "minLength"), (14, "maxItems"), (15, "minItems"), (17, "maxProperties"), (18, "minProperties")];
    for (number, key) in counts {
        if let Some(value) = get(key).and_then(Value::as_u64) {
            put_integer(out, number, value);
        }
    }
    texts(out, 19, get("required"));
    get("enum").and_then(Value::as_array).into_iter().flatten().for_each(|value| any(out, 20, value));
    match get("additionalProperties") {
        Some(Value::Object(values)) => put_message(out, 21, |out| put_message(out, 1, |out| schema(out, values))),
        Some(Value::Bool(allowed)) => put_message(out, 21, |out| put_integer(out, 2, u64::from(*allowed))),
        _ => {}
    }
    if get("type").is_some() {
        put_message(out, 22, |out| text(out, 1, get("type")));
    }
    if let Some(items) = get("items").and_then(Value::as_object) {
        put_message(out, 23, |out| put_message(out, 1, |out| schema(out, items)));
    }
    if get("properties").is_some() {
        put_message(out, 25, |out| named(out, 1, get("properties"), schema));
    }
    extensions(out, 31, object);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::openapi::message::testing::at;

    #[test]
    fn clients_find_definitions_and_what_the_server_says_of_them() {
        let kinds = json!([{"group": "apps", "kind": "Deployment", "version": "v1"}]);
        let bytes = document(&json!({
            "swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1"},
            "paths": {"/a": {"get": {"responses": {}, "x-kubernetes-action": "list"}}},
            "definitions": {"x.Deployment": {"type": "object", "x-kubernetes-group-version-kind": kinds,
                "properties": {"spec": {"$ref": "#/definitions/x.Spec"}}}},
        }));
        assert_eq!(at(&bytes, &[1]), b"2.0");
        assert_eq!(at(&bytes, &[8, 2, 1]), b"/a");
        assert_eq!(at(&bytes, &[8, 2, 2, 2, 13, 2, 2]), b"\"list\"");
        assert_eq!(at(&bytes, &[9, 1, 1]), b"x.Deployment");
        assert_eq!(at(&bytes, &[9, 1, 2, 22, 1]), b"object");
        assert_eq!(at(&bytes, &[9, 1, 2, 25, 1, 2, 1]), b"#/definitions/x.Spec");
        assert_eq!(serde_json::from_slice::<Value>(at(&bytes, &[9, 1, 2, 31, 2, 2])).expect("JSON"), kinds);
    }
}
