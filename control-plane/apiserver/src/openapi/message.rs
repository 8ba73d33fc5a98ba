//! What the messages of both versions of OpenAPI have in common (gnostic's packages `openapi.v2` and `openapi.v3`).

use serde_json::{Map, Value};

use crate::protobuf::wire::{put_bytes, put_integer, put_message};

/// A map as gnostic has them: messages of a name and a value.
pub(super) fn named(out: &mut Vec<u8>, number: u32, map: Option<&Value>, write: fn(&mut Vec<u8>, &Map<String, Value>)) {
    for (name, value) in map.and_then(Value::as_object).into_iter().flatten() {
        let Some(value) = value.as_object() else { continue };
        put_message(out, number, |out| {
            put_bytes(out, 1, name.as_bytes());
            put_message(out, 2, |out| write(out, value));
        });
    }
}

pub(super) fn text(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    if let Some(value) = value.and_then(Value::as_str) {
        put_bytes(out, number, value.as_bytes());
    }
}

pub(super) fn flag(out: &mut Vec<u8>, number: u32, value: Option<&Value>) {
    if value == Some(&Value::Bool(true)) {
        put_integer(out, number, 1);
    }
}

pub(super) fn texts(out: &mut Vec<u8>, number: u32, list: Option<&Value>) {
    list.and_then(Value::as_array).into_iter().flatten().for_each(|item| text(out, number, Some(item)));
}

/// Any value, as YAML; JSON is YAML.
pub(super) fn any(out: &mut Vec<u8>, number: u32, value: &Value) {
    put_message(out, number, |out| put_bytes(out, 2, value.to_string().as_bytes()));
}

/// `x-…` fields.
pub(super) fn extensions(out: &mut Vec<u8>, number: u32, object: &Map<String, Value>) {
    for (name, value) in object.iter().filter(|(name, _)| name.starts_with("x-")) {
        put_message(out, number, |out| {
            put_bytes(out, 1, name.as_bytes());
            any(out, 2, value);
        });
    }
}

#[cfg(test)]
pub(super) mod testing {
    use crate::protobuf::wire::{Fields, Wire};

    /// The first field with a number, looked for along a path of numbers.
    pub(in crate::openapi) fn at<'a>(mut bytes: &'a [u8], path: &[u32]) -> &'a [u8] {
        for wanted in path {
            bytes = Fields::new(bytes)
                .filter_map(Result::ok)
                .find_map(|field| match field {
                    (number, Wire::Bytes(bytes)) if number == *wanted => Some(bytes),
                    _ => None,
                })
                .unwrap_or_else(|| panic!("no field {wanted} of {path:?}"));
        }
        bytes
    }
}
