//! What changed between two documents, field by field.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use mizzen_api::schema::SchemaSet;
use serde_json::{Map, Value};

use super::extract::{BadItem, index};
use super::fieldset::FieldSet;
use super::node::{Fields, Kind, ListItems, Node, is_empty};
use super::path::PathElement;

/// No field is in more than one of the sets.
#[derive(Debug, Default)]
pub(super) struct Comparison<'a> {
    pub(super) removed: FieldSet<'a>,
    pub(super) modified: FieldSet<'a>,
    pub(super) added: FieldSet<'a>,
}

impl<'a> Comparison<'a> {
    /// Leaves out `fields` and all below them.
    pub(super) fn without(mut self, fields: &FieldSet<'_>) -> Self {
        self.removed.subtract_recursively(fields);
        self.modified.subtract_recursively(fields);
        self.added.subtract_recursively(fields);
        self
    }

    /// What was changed or added, which is whose write it was.
    pub(super) fn set(self) -> FieldSet<'a> {
        let mut fields = self.modified;
        fields.add(self.added);
        fields
    }

    /// The same without the documents.
    pub(super) fn into_owned(self) -> Comparison<'static> {
        let Self { removed, modified, added } = self;
        Comparison { removed: removed.into_owned(), modified: modified.into_owned(), added: added.into_owned() }
    }

    /// Adds an element, greater than all that are there.
    fn graft(&mut self, element: PathElement<'a>, change: Option<Change>, below: Self) {
        let is = |wanted| change == Some(wanted);
        if is(Change::Removed) || !below.removed.is_empty() {
            self.removed.graft(element.clone(), is(Change::Removed), below.removed);
        }
        if is(Change::Modified) || !below.modified.is_empty() {
            self.modified.graft(element.clone(), is(Change::Modified), below.modified);
        }
        self.added.graft(element, is(Change::Added), below.added);
    }

    fn join(&mut self, other: Self) {
        self.removed.add(other.removed);
        self.modified.add(other.modified);
        self.added.add(other.added);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Removed,
    Modified,
    Added,
}

/// Compares two documents of one kind; a missing one has no fields.
pub(super) fn compare<'a>(
    set: &'a SchemaSet,
    root: Node<'a>,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
) -> Result<Comparison<'a>, BadItem> {
    Ok(walk(set, root, old, new, true)?.1)
}

/// The change of the value itself, and of what is below it. A value is `present` if it was there before, seen or not.
fn walk<'a>(
    set: &'a SchemaSet,
    node: Node<'a>,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    present: bool,
) -> Result<(Option<Change>, Comparison<'a>), BadItem> {
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
                below.join(walk(set, node, Some(old), None, true)?.1);
                below.join(walk(set, node, None, Some(new), false)?.1);
            }
            return Ok((Some(Change::Modified), below));
        }
        _ => {}
    }
    Ok((itself, below))
}

fn compare_fields<'a>(
    set: &'a SchemaSet,
    fields: Fields<'a>,
    old: Option<&'a Map<String, Value>>,
    new: Option<&'a Map<String, Value>>,
    present: bool,
    out: &mut Comparison<'a>,
) -> Result<(), BadItem> {
    for (name, old, new) in both(old, new) {
        if old == new {
            continue;
        }
        let element = || PathElement::field(name);
        let node = fields.child(name).0;
        let present = present && (old.is_some() || fields.always_present(name));
        let (mut change, below) = walk(set, node, old, new, present).map_err(|error| error.below(&element()))?;
        let is_filled = !new.is_none_or(is_empty) && !matches!(node.kind(set, [old, new]), Kind::Leaf);
        if change == Some(Change::Added) && present && is_filled {
            change = None;
        }
        out.graft(element(), change, below);
    }
    Ok(())
}

/// The fields of both, in their order, with the value that each has.
fn both<'a>(
    old: Option<&'a Map<String, Value>>,
    new: Option<&'a Map<String, Value>>,
) -> impl Iterator<Item = (&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let mut old = old.into_iter().flatten().peekable();
    let mut new = new.into_iter().flatten().peekable();
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        Some(match order {
            Ordering::Less => old.next().map(|(name, value)| (name.as_str(), Some(value), None))?,
            Ordering::Greater => new.next().map(|(name, value)| (name.as_str(), None, Some(value)))?,
            Ordering::Equal => {
                let ((name, old), (_, new)) = (old.next()?, new.next()?);
                (name.as_str(), Some(old), Some(new))
            }
        })
    })
}

fn compare_items<'a>(
    set: &'a SchemaSet,
    list: ListItems<'a>,
    old: Option<&'a Vec<Value>>,
    new: Option<&'a Vec<Value>>,
    out: &mut Comparison<'a>,
) -> Result<(), BadItem> {
    if old == new {
        return Ok(());
    }
    let (old, new) = (old.map_or(&[][..], Vec::as_slice), new.map_or(&[][..], Vec::as_slice));
    let mut elements: BTreeMap<PathElement<'a>, [Vec<usize>; 2]> = BTreeMap::new();
    for (element, places) in index(set, list, old)? {
        elements.insert(element, [places, Vec::new()]);
    }
    for (element, places) in index(set, list, new)? {
        elements.entry(element).or_default()[1] = places;
    }
    for (element, [before, after]) in elements {
        let single = |old: Option<&'a Value>, new: Option<&'a Value>| {
            walk(set, list.node, old, new, old.is_some()).map_err(|error: BadItem| error.below(&element))
        };
        match (before.as_slice(), after.as_slice()) {
            ([] | [_], [] | [_]) => {
                let (change, below) = single(before.first().map(|place| &old[*place]), after.first().map(|place| &new[*place]))?;
                out.graft(element, change, below);
            }
            ([_, _, ..], [_, _, ..]) => {
                if !before.iter().map(|place| &old[*place]).eq(after.iter().map(|place| &new[*place])) {
                    out.modified.graft(element, true, FieldSet::default());
                }
            }
            // Once there twice and now not, or the reverse: whoever did that owns the element now.
            (before, after) => {
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
