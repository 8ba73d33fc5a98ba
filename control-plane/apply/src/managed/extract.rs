//! The fields that a document sets: what its manager owns once it is applied.

use std::collections::BTreeMap;

use mizzen_api::schema::SchemaSet;
use serde_json::Value;

use super::fieldset::FieldSet;
use super::node::{Kind, ListItems, Node};
use super::path::PathElement;

/// A list item that cannot be told apart, with its path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct BadItem {
    pub(super) path: String,
    pub(super) reason: String,
}

impl BadItem {
    pub(super) fn new(index: usize, reason: String) -> Self {
        Self { path: String::new(), reason: format!("element {index}: {reason}") }
    }

    pub(super) fn twice(element: &PathElement<'_>) -> Self {
        Self { path: String::new(), reason: format!("duplicate entries for key {element}") }
    }

    pub(super) fn below(mut self, element: &PathElement<'_>) -> Self {
        self.path.insert_str(0, &element.to_string());
        self
    }
}

/// The field set of `value`, a document of the schema named `schema`.
///
/// # Errors
/// When a list has items that its keys cannot tell apart.
pub fn extract<'a>(set: &'a SchemaSet, schema: &str, value: &'a Value) -> Result<FieldSet<'a>, BadItem> {
    extract_at(set, Node::root(set, schema), value)
}

pub(super) fn extract_at<'a>(set: &'a SchemaSet, root: Node<'a>, value: &'a Value) -> Result<FieldSet<'a>, BadItem> {
    Ok(fields_of(set, root, value)?.1)
}

/// Whether the value is owned as a whole, and what is owned below it.
fn fields_of<'a>(set: &'a SchemaSet, node: Node<'a>, value: &'a Value) -> Result<(bool, FieldSet<'a>), BadItem> {
    let mut owned = FieldSet::default();
    match (node.kind(set, [Some(value), None]), value) {
        (Kind::Leaf, _) => return Ok((true, owned)),
        (Kind::Fields(fields), Value::Object(object)) => {
            for (name, value) in object {
                let element = PathElement::field(name);
                let (node, declared) = fields.child(name);
                let (whole, below) = fields_of(set, node, value).map_err(|error| error.below(&element))?;
                let is_member = whole || !declared || value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                owned.graft(element, is_member, below);
            }
        }
        (Kind::List(list), Value::Array(items)) => {
            for (element, places) in index(set, list, items)? {
                // Items that are there twice are owned together.
                let below = match places.as_slice() {
                    [place] => fields_of(set, list.node, &items[*place]).map_err(|error| error.below(&element))?.1,
                    _ => FieldSet::default(),
                };
                owned.graft(element, true, below);
            }
        }
        _ => {}
    }
    Ok((false, owned))
}

/// Where each element of a list is.
pub(super) fn index<'a>(
    set: &'a SchemaSet,
    list: ListItems<'a>,
    items: &'a [Value],
) -> Result<BTreeMap<PathElement<'a>, Vec<usize>>, BadItem> {
    let mut places: BTreeMap<PathElement<'a>, Vec<usize>> = BTreeMap::new();
    for (place, item) in items.iter().enumerate() {
        let element = list.element(set, item).map_err(|reason| BadItem::new(place, reason))?;
        places.entry(element).or_default().push(place);
    }
    Ok(places)
}
