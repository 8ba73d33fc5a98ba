//! What changed between two documents, field by field.

use std::collections::BTreeSet;

use mizzen_api::schema::SchemaSet;
use serde_json::{Map, Value};

use super::extract::{BadItem, index};
use super::fieldset::FieldSet;
use super::node::{Fields, Kind, ListItems, Node, is_empty};
use super::path::PathElement;

/// No field is in more than one of the sets.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) added: FieldSet,
}

impl Comparison {
    /// Leaves out `fields` and all below them.
    pub(super) fn without(mut self, fields: &FieldSet) -> Self {
        self.removed.subtract_recursively(fields);
        self.modified.subtract_recursively(fields);
        self.added.subtract_recursively(fields);
        self
    }

    fn graft(&mut self, element: &PathElement, change: Option<Change>, below: Self) {
        self.removed.graft(element.clone(), change == Some(Change::Removed), below.removed);
        self.modified.graft(element.clone(), change == Some(Change::Modified), below.modified);
        self.added.graft(element.clone(), change == Some(Change::Added), below.added);
    }

    fn join(&mut self, other: &Self) {
        self.removed.add(&other.removed);
        self.modified.add(&other.modified);
        self.added.add(&other.added);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Removed,
    Modified,
    Added,
}

/// Compares two documents of one kind; a missing one has no fields.
pub(super) fn compare(set: &SchemaSet, root: Node<'_>, old: Option<&Value>, new: Option<&Value>) -> Result<Comparison, BadItem> {
    Ok(walk(set, root, old, new, true)?.1)
}

/// The change of the value itself, and of what is below it. A value is `present` if it was there before, seen or not.
fn walk(
    set: &SchemaSet,
    node: Node<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    present: bool,
) -> Result<(Option<Change>, Comparison), BadItem> {
    let itself = match (old, new) {
        (None, Some(_)) => Some(Change::Added),
        (Some(_), None) => Some(Change::Removed),
        _ => None,
    };
    let mut below = Comparison::default();
    let nothing_inside = old.is_none_or(is_empty) && new.is_none_or(is_empty);
    match node.kind(set, [old, new]) {
        Kind::Fields(fields) if !nothing_inside => {
            compare_fields(set, fields, old.and_then(Value::as_object), new.and_then(Value::as_object), present, &mut below)?;
        }
        Kind::List(list) if !nothing_inside => {
            compare_items(set, list, old.and_then(Value::as_array), new.and_then(Value::as_array), &mut below)?;
        }
        _ if itself.is_none() && old != new => {
            // Of two kinds: what was inside is gone, what is inside now is new.
            if let (Some(old), Some(new)) = (old, new)
                && (old.is_object() || old.is_array() || new.is_object() || new.is_array())
                && std::mem::discriminant(old) != std::mem::discriminant(new)
            {
                below.join(&walk(set, node, Some(old), None, true)?.1);
                below.join(&walk(set, node, None, Some(new), false)?.1);
            }
            return Ok((Some(Change::Modified), below));
        }
        _ => {}
    }
    Ok((itself, below))
}

fn compare_fields(
    set: &SchemaSet,
    fields: Fields<'_>,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    present: bool,
    out: &mut Comparison,
) -> Result<(), BadItem> {
    let only_new = new.into_iter().flat_map(Map::keys).filter(|name| !old.is_some_and(|old| old.contains_key(*name)));
    for name in old.into_iter().flat_map(Map::keys).chain(only_new) {
        let (old, new) = (old.and_then(|old| old.get(name)), new.and_then(|new| new.get(name)));
        if old == new {
            continue;
        }
        let element = PathElement::field(name);
        let node = fields.child(name).0;
        let present = present && (old.is_some() || fields.always_present(name));
        let (mut change, below) = walk(set, node, old, new, present).map_err(|error| error.below(&element))?;
        let is_filled = !new.is_none_or(is_empty) && !matches!(node.kind(set, [old, new]), Kind::Leaf);
        if change == Some(Change::Added) && present && is_filled {
            change = None;
        }
        out.graft(&element, change, below);
    }
    Ok(())
}

fn compare_items(
    set: &SchemaSet,
    list: ListItems<'_>,
    old: Option<&Vec<Value>>,
    new: Option<&Vec<Value>>,
    out: &mut Comparison,
) -> Result<(), BadItem> {
    if old == new {
        return Ok(());
    }
    let (old, new) = (old.map_or(&[][..], Vec::as_slice), new.map_or(&[][..], Vec::as_slice));
    let (old_places, new_places) = (index(set, list, old)?, index(set, list, new)?);
    let elements: BTreeSet<&PathElement> = old_places.keys().chain(new_places.keys()).collect();
    for element in elements {
        let before = old_places.get(element).map_or(&[][..], Vec::as_slice);
        let after = new_places.get(element).map_or(&[][..], Vec::as_slice);
        let single = |old: Option<&Value>, new: Option<&Value>| {
            walk(set, list.node, old, new, old.is_some()).map_err(|error: BadItem| error.below(element))
        };
        match (before, after) {
            ([] | [_], [] | [_]) => {
                let (change, below) = single(before.first().map(|place| &old[*place]), after.first().map(|place| &new[*place]))?;
                out.graft(element, change, below);
            }
            ([_, _, ..], [_, _, ..]) => {
                if !before.iter().map(|place| &old[*place]).eq(after.iter().map(|place| &new[*place])) {
                    out.modified.graft(element.clone(), true, FieldSet::default());
                }
            }
            // Once there twice and now not, or the reverse: whoever did that owns the element now.
            _ => {
                let (_, below) = match (before, after) {
                    ([place], _) => single(Some(&old[*place]), None)?,
                    (_, [place]) => single(None, Some(&new[*place]))?,
                    _ => (None, Comparison::default()),
                };
                let change = match (before, after) {
                    (_, []) => Change::Removed,
                    ([], _) => Change::Added,
                    _ => Change::Modified,
                };
                out.graft(element, Some(change), below);
            }
        }
    }
    Ok(())
}
