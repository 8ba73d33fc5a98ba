//! The directives: keys of a patch that say how to merge instead of what.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::PatchError;

pub(super) const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
pub(super) const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";

/// What `$patch` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    Delete,
    Replace,
    Merge,
}

/// What a key of a patch is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Field,
    SetElementOrder(&'a str),
    DeleteFromPrimitiveList(&'a str),
    /// `$patch` and `$retainKeys`, which are about the whole object.
    OfObject,
}

pub(super) fn key(key: &str) -> Key<'_> {
    if key == PATCH || key == RETAIN_KEYS {
        Key::OfObject
    } else if let Some(field) = key.strip_prefix(SET_ELEMENT_ORDER) {
        Key::SetElementOrder(field)
    } else if let Some(field) = key.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
        Key::DeleteFromPrimitiveList(field)
    } else {
        Key::Field
    }
}

pub(super) fn of(patch: &Map<String, Value>) -> Result<Option<Directive>, PatchError> {
    match patch.get(PATCH) {
        None => Ok(None),
        Some(Value::String(kind)) if kind == "delete" => Ok(Some(Directive::Delete)),
        Some(Value::String(kind)) if kind == "replace" => Ok(Some(Directive::Replace)),
        Some(Value::String(kind)) if kind == "merge" => Ok(Some(Directive::Merge)),
        Some(other) => Err(PatchError::UnknownPatchType {
            kind: other.as_str().map_or_else(|| other.to_string(), str::to_owned),
            map: Value::Object(patch.clone()).to_string(),
        }),
    }
}

/// Clears what `$retainKeys` does not name. Everything that the patch sets must be named.
pub(super) fn retain_keys(doc: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), PatchError> {
    const BAD: PatchError = PatchError::BadDirective { directive: "retainKeys" };
    let kept: HashSet<&str> = match patch.get(RETAIN_KEYS) {
        None => return Ok(()),
        Some(Value::Array(names)) => names.iter().map(Value::as_str).collect::<Option<_>>().ok_or(BAD)?,
        Some(_) => return Err(BAD),
    };
    let sets_another =
        patch.iter().any(|(name, value)| !value.is_null() && key(name) == Key::Field && !kept.contains(name.as_str()));
    if sets_another {
        return Err(BAD);
    }
    doc.retain(|name, _| kept.contains(name.as_str()));
    Ok(())
}

pub(super) fn delete_from_primitive_list(doc: &mut Map<String, Value>, field: &str, value: &Value) -> Result<(), PatchError> {
    const BAD: PatchError = PatchError::BadDirective { directive: "primitive list" };
    let Value::Array(deleted) = value else { return Err(BAD) };
    if deleted.iter().any(|item| item.is_object() || item.is_array()) {
        return Err(BAD);
    }
    let deleted: HashSet<&Value> = deleted.iter().collect();
    if let Some(Value::Array(items)) = doc.get_mut(field) {
        items.retain(|item| !deleted.contains(item));
    }
    Ok(())
}

pub(super) fn element_order(value: &Value) -> Result<&[Value], PatchError> {
    match value {
        Value::Array(order) => Ok(order),
        _ => Err(PatchError::BadDirective { directive: "setElementOrder list" }),
    }
}

/// A value of the patch that replaces what was there, without the directives in it and without nulls in objects.
fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, value)| key(name) == Key::Field && !value.is_null())
            .map(|(name, value)| (name.clone(), without_directives(value)))
            .collect(),
        Value::Array(items) => Value::Array(elements(items)),
        scalar => scalar.clone(),
    }
}

/// The elements that a list of the patch replaces a list with.
pub(super) fn elements(items: &[Value]) -> Vec<Value> {
    items.iter().filter(|item| !is_special(item)).map(without_directives).collect()
}

/// A list element that stands for no element: it deletes one, or says that the list is replaced.
fn is_special(item: &Value) -> bool {
    matches!(item.get(PATCH).and_then(Value::as_str), Some("delete" | "replace"))
}
