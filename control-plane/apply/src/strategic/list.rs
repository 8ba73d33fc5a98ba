//! Merging lists: by key, as sets of scalars, or by replacing them.

use std::collections::{HashMap, HashSet};

use mizzen_api::schema::{PatchStrategy, Schema, SchemaSet};
use serde_json::{Map, Value};

use super::directive::{self, Directive};
use super::{merge_key, merge_object, order};
use crate::PatchError;

/// How one list is merged.
pub(super) struct Merge<'a> {
    pub(super) set: &'a SchemaSet,
    pub(super) items: &'a Schema,
    pub(super) strategy: &'a PatchStrategy,
    pub(super) field: &'a str,
}

impl Merge<'_> {
    /// Merges `patch` into `list`; `order` is the list's `$setElementOrder`, if the patch has one.
    pub(super) fn apply(&self, list: &mut Vec<Value>, patch: &[Value], order: Option<&[Value]>) -> Result<(), PatchError> {
        if !self.strategy.merge {
            *list = directive::elements(patch);
            return Ok(());
        }
        match merge_key(self.strategy) {
            Some(key) => self.by_key(list, patch, order, key),
            None if list.iter().chain(patch).any(Value::is_object) => {
                Err(PatchError::NoDeclaredMergeKey { field: self.field.to_owned() })
            }
            None => self.as_set(list, patch, order),
        }
    }

    fn as_set(&self, list: &mut Vec<Value>, patch: &[Value], wanted: Option<&[Value]>) -> Result<(), PatchError> {
        let added: Vec<String> = patch.iter().map(Value::to_string).collect();
        let wanted = self.wanted_order(wanted, &added, |item| Ok(item.to_string()))?;
        let mut seen = HashSet::new();
        list.retain(|item| seen.insert(item.to_string()));
        let before = list.iter().map(Value::to_string).collect();
        for (item, identity) in patch.iter().zip(&added) {
            if seen.insert(identity.clone()) {
                list.push(item.clone());
            }
        }
        order::arrange(list, Value::to_string, &wanted, before);
        Ok(())
    }

    fn by_key(&self, list: &mut Vec<Value>, patch: &[Value], wanted: Option<&[Value]>, key: &str) -> Result<(), PatchError> {
        let mut merged: Vec<(String, &Map<String, Value>)> = Vec::with_capacity(patch.len());
        let mut deleted = HashSet::new();
        let mut replaced = false;
        for item in patch {
            let Value::Object(fields) = item else { return Err(no_merge_key(item, key)) };
            match directive::of(fields)? {
                Some(Directive::Delete) => {
                    deleted.insert(identity(item, key)?);
                }
                Some(Directive::Replace) => replaced = true,
                Some(Directive::Merge) | None => merged.push((identity(item, key)?, fields)),
            }
        }
        if replaced && wanted.is_none() {
            // As it is: a Node has two addresses of one type.
            *list = directive::elements(patch);
            return Ok(());
        }
        let added: Vec<String> = merged.iter().map(|(identity, _)| identity.clone()).collect();
        let wanted = self.wanted_order(wanted, &added, |item| identity(item, key))?;
        if replaced {
            list.clear();
        } else if !deleted.is_empty() {
            list.retain(|item| !identity(item, key).is_ok_and(|identity| deleted.contains(&identity)));
        }

        let before: Vec<String> = list.iter().map(|item| identity(item, key)).collect::<Result<_, _>>()?;
        let mut places: HashMap<String, usize> = HashMap::with_capacity(list.len());
        for (place, identity) in before.iter().enumerate() {
            places.entry(identity.clone()).or_insert(place);
        }
        for (identity, fields) in merged {
            let place = *places.entry(identity).or_insert_with(|| {
                list.push(Value::Object(Map::new()));
                list.len() - 1
            });
            if let Some(Value::Object(doc)) = list.get_mut(place) {
                merge_object(self.set, self.items, doc, fields)?;
            }
        }
        order::arrange(list, |item| identity(item, key).unwrap_or_default(), &wanted, before);
        Ok(())
    }

    /// The order that the patch asks for: its `$setElementOrder`, which its own elements must follow, or their order.
    fn wanted_order(
        &self,
        wanted: Option<&[Value]>,
        added: &[String],
        identity: impl Fn(&Value) -> Result<String, PatchError>,
    ) -> Result<Vec<String>, PatchError> {
        let Some(wanted) = wanted else { return Ok(added.to_vec()) };
        let wanted: Vec<String> = wanted.iter().map(identity).collect::<Result<_, _>>()?;
        let mut rest = wanted.iter();
        if added.iter().all(|identity| rest.any(|next| next == identity)) {
            Ok(wanted)
        } else {
            Err(PatchError::OrderMismatch { field: self.field.to_owned() })
        }
    }
}

/// Puts a list in the order of a `$setElementOrder` that comes without elements.
pub(super) fn reorder(strategy: &PatchStrategy, list: &mut Vec<Value>, wanted: &[Value]) -> Result<(), PatchError> {
    if !strategy.merge {
        return Ok(());
    }
    let key = merge_key(strategy);
    let identity = |item: &Value| key.map_or_else(|| Ok(item.to_string()), |key| identity(item, key));
    let before = list.iter().map(identity).collect::<Result<_, _>>()?;
    let wanted: Vec<String> = wanted.iter().map(identity).collect::<Result<_, _>>()?;
    order::arrange(list, |item| identity(item).unwrap_or_default(), &wanted, before);
    Ok(())
}

/// What tells an element apart: the JSON of its merge key.
fn identity(item: &Value, key: &str) -> Result<String, PatchError> {
    item.get(key).map(Value::to_string).ok_or_else(|| no_merge_key(item, key))
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    PatchError::NoMergeKey { map: item.to_string(), key: key.to_owned() }
}
