//! Strategic merge patch: a merge patch that knows which lists merge, and by which key.

mod directive;
mod list;
mod order;
#[cfg(test)]
mod tests;

use mizzen_api::schema::{PatchStrategy, Schema, SchemaSet};
use serde_json::{Map, Value};

use crate::schema::child;
use crate::{PatchError, bounds};
use directive::{Directive, Key};

/// Merges `patch` into `doc`, an object of the schema named `schema`. Directives (`$patch`, `$retainKeys`,
/// `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) are obeyed and never stay in the document.
///
/// # Errors
/// [`PatchError::NoSchema`] when the set does not know the schema (the API answers 415, as for custom resources), and
/// when a directive is malformed; the document is then half patched.
pub fn apply(set: &SchemaSet, schema: &str, doc: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let root = set.get(schema).ok_or_else(|| PatchError::NoSchema { name: schema.to_owned() })?;
    bounds::check_depth(patch)?;
    let (Value::Object(doc), Value::Object(patch)) = (doc, patch) else { return Err(PatchError::NotAnObject) };
    merge_object(set, root, doc, patch)
}

fn merge_object(
    set: &SchemaSet,
    schema: &Schema,
    doc: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), PatchError> {
    match directive::of(patch)? {
        Some(Directive::Delete) => {
            doc.clear();
            return Ok(());
        }
        Some(Directive::Replace) => doc.clear(),
        Some(Directive::Merge) | None => {}
    }
    // Most objects of a patch have none.
    if !patch.keys().any(|key| directive::key(key) != Key::Field) {
        return patch.iter().try_for_each(|(key, value)| merge_field(set, schema, doc, key, value, None));
    }
    directive::retain_keys(doc, patch)?;
    // Deleting from primitive lists first: what the patch adds again is then added.
    for (key, value) in patch {
        if let Key::DeleteFromPrimitiveList(field) = directive::key(key) {
            directive::delete_from_primitive_list(doc, field, value)?;
        }
    }
    for (key, value) in patch {
        match directive::key(key) {
            Key::SetElementOrder(field) if !patch.contains_key(field) => {
                let order = directive::element_order(value)?;
                if let Some(Value::Array(items)) = doc.get_mut(field) {
                    let strategy = child(set, schema, field).patch();
                    list::reorder(strategy, items, order)?;
                }
            }
            Key::Field => {
                let order = match patch.get(&format!("{}{key}", directive::SET_ELEMENT_ORDER)) {
                    Some(order) => Some(directive::element_order(order)?),
                    None => None,
                };
                merge_field(set, schema, doc, key, value, order)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn merge_field(
    set: &SchemaSet,
    schema: &Schema,
    doc: &mut Map<String, Value>,
    key: &str,
    wanted: &Value,
    order: Option<&[Value]>,
) -> Result<(), PatchError> {
    let child = child(set, schema, key);
    match wanted {
        Value::Null => {
            doc.remove(key);
        }
        Value::Object(patch) => {
            // An object that is not there needs no deleting.
            if directive::of(patch)? == Some(Directive::Delete) && !doc.get(key).is_some_and(Value::is_object) {
                doc.remove(key);
                return Ok(());
            }
            if let Value::Object(fields) = slot(doc, key, || Value::Object(Map::new()), Value::is_object) {
                merge_object(set, child.schema, fields, patch)?;
            }
        }
        Value::Array(patch) => {
            if let Value::Array(list) = slot(doc, key, || Value::Array(Vec::new()), Value::is_array) {
                let merge =
                    list::Merge { set, items: crate::schema::items(set, child.schema), strategy: child.patch(), field: key };
                merge.apply(list, patch, order)?;
            }
        }
        scalar => {
            doc.insert(key.to_owned(), scalar.clone());
        }
    }
    Ok(())
}

/// The value of a key, made anew if it is missing or of another type.
fn slot<'a>(doc: &'a mut Map<String, Value>, key: &str, new: impl Fn() -> Value, fits: impl Fn(&Value) -> bool) -> &'a mut Value {
    let value = doc.entry(key).or_insert_with(&new);
    if !fits(value) {
        *value = new();
    }
    value
}

/// Whether a strategy merges lists, and by which key.
fn merge_key(strategy: &PatchStrategy) -> Option<&str> {
    if strategy.merge { strategy.merge_key.as_deref() } else { None }
}
