//! Short ways to read and fill in documents.

use serde_json::{Map, Value};

use crate::Pointed as _;

/// The text at a JSON pointer, empty when there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.at(pointer).and_then(Value::as_str).unwrap_or("")
}

pub(super) fn int(value: &Value, pointer: &str) -> Option<i64> {
    value.at(pointer).and_then(Value::as_i64)
}

pub(super) fn flag(value: &Value, pointer: &str) -> bool {
    value.at(pointer).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.at(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn entries<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.at(pointer).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

pub(super) fn list_mut<'a>(value: &'a mut Value, pointer: &str) -> std::slice::IterMut<'a, Value> {
    value.pointer_mut(pointer).and_then(Value::as_array_mut).map(|list| list.iter_mut()).unwrap_or_default()
}

/// Sets a field of an object that is absent, null or the empty text (which Go cannot tell from absent).
pub(super) fn fill(value: &mut Value, key: &str, default: impl Into<Value>) {
    if let Some(object) = value.as_object_mut() {
        let present = object.get(key).is_some_and(|value| !value.is_null() && value.as_str() != Some(""));
        if !present {
            object.insert(key.to_owned(), default.into());
        }
    }
}

/// A field that is an object, made empty if it is absent; `None` when it is something else.
pub(super) fn child<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let object = value.as_object_mut()?;
    let child = object.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if child.is_null() {
        *child = Value::Object(Map::new());
    }
    child.is_object().then_some(child)
}

/// Whether a field is absent or null.
pub(super) fn absent(value: &Value, pointer: &str) -> bool {
    value.at(pointer).is_none_or(Value::is_null)
}

/// Sets a top-level field.
pub(super) fn set(value: &mut Value, key: &str, field: impl Into<Value>) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), field.into());
    }
}

/// A map of texts as kubectl writes labels, `<none>` when it is empty.
pub(super) fn labels_text(value: &Value, pointer: &str) -> String {
    let pairs: Vec<String> =
        entries(value, pointer).map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
    crate::print::or_none(&pairs.join(",")).to_owned()
}
