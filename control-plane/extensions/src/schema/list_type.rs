//! Lists whose items are told apart: sets and maps.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::structural::{ListType, Structural};

/// The places of items that an earlier item equals: the whole item in a set, its keys in a map.
pub(super) fn duplicates(schema: &Structural, items: &[Value]) -> Vec<usize> {
    if schema.list_type == ListType::Atomic {
        return Vec::new();
    }
    let mut seen = HashSet::with_capacity(items.len());
    (0..items.len())
        .filter(|index| match identity(&schema.list_type, schema.items.as_deref(), &items[*index]) {
            Some(identity) => !seen.insert(identity),
            None => false,
        })
        .collect()
}

/// What tells an item apart from the others, as text.
fn identity(list_type: &ListType, items: Option<&Structural>, item: &Value) -> Option<String> {
    match list_type {
        ListType::Atomic => None,
        ListType::Set => Some(canonical(item)),
        ListType::Map(keys) => {
            let object = item.as_object()?;
            let parts: Vec<String> = keys
                .iter()
                .map(|key| {
                    let default = || items.and_then(|items| items.properties.get(key)?.default.as_ref());
                    object.get(key).or_else(default).map(canonical).unwrap_or_default()
                })
                .collect();
            Some(parts.join("\u{0}"))
        }
    }
}

/// The item as a message names it: by its keys in a map.
pub(super) fn shown(list_type: &ListType, item: &Value) -> Value {
    match (list_type, item) {
        (ListType::Map(keys), Value::Object(object)) => {
            keys.iter().filter_map(|key| Some((key.clone(), object.get(key)?.clone()))).collect()
        }
        (_, item) => item.clone(),
    }
}

/// JSON text that is the same for the same value: serde_json's maps may keep their order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let mut fields: Vec<String> =
                object.iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value))).collect();
            fields.sort_unstable();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// The items of the list before, found by their keys.
pub(crate) struct Correlated<'a> {
    list_type: &'a ListType,
    items: HashMap<String, &'a Value>,
}

impl<'a> Correlated<'a> {
    /// Only lists of the type `map` have items that can be found again.
    pub(crate) fn new(list_type: &'a ListType, old: Option<&'a Value>) -> Self {
        let items = match (list_type, old.and_then(Value::as_array)) {
            (ListType::Map(_), Some(items)) => {
                items.iter().filter_map(|item| Some((identity(list_type, None, item)?, item))).collect()
            }
            _ => HashMap::new(),
        };
        Self { list_type, items }
    }

    pub(crate) fn find(&self, item: &Value) -> Option<&'a Value> {
        if self.items.is_empty() {
            return None;
        }
        self.items.get(&identity(self.list_type, None, item)?).copied()
    }
}
