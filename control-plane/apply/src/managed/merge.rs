//! Merging an applied configuration into the live document.

use std::collections::{BTreeMap, BTreeSet};

use mizzen_api::schema::SchemaSet;
use serde_json::{Map, Value};

use super::extract::BadItem;
use super::node::{Fields, Kind, ListItems, Node, is_empty};
use super::path::PathElement;

/// Merges `config` into `live`: what the configuration sets wins, all else stays.
pub(super) fn merge(set: &SchemaSet, node: Node<'_>, live: &mut Value, config: &Value) -> Result<(), BadItem> {
    let kind = node.kind(set, [Some(live), Some(config)]);
    if matches!(kind, Kind::Leaf) || (is_empty(live) && is_empty(config)) {
        live.clone_from(config);
        return Ok(());
    }
    match (kind, config) {
        (Kind::Fields(fields), Value::Object(config)) => {
            if live.is_null() {
                *live = Value::Object(Map::new());
            }
            if let Value::Object(live) = live {
                merge_fields(set, fields, live, config, &[])?;
            }
        }
        (Kind::List(list), Value::Array(config)) => {
            let items = match live.take() {
                Value::Array(items) => items,
                _ => Vec::new(),
            };
            *live = Value::Array(merge_items(set, list, items, config)?);
        }
        // A null where there is something inside changes nothing.
        _ => {}
    }
    Ok(())
}

/// Merges the fields of an object, except those named in `skip`.
pub(super) fn merge_fields(
    set: &SchemaSet,
    fields: Fields<'_>,
    live: &mut Map<String, Value>,
    config: &Map<String, Value>,
    skip: &[&str],
) -> Result<(), BadItem> {
    for (name, wanted) in config {
        if skip.contains(&name.as_str()) {
            continue;
        }
        let node = fields.child(name).0;
        if wanted.is_null() && matches!(node, Node::Declared(_)) {
            // A declared field has no null: it is unset, unless it holds what others may own.
            let keeps = live
                .get(name)
                .is_some_and(|value| !is_empty(value) && !matches!(node.kind(set, [Some(value), None]), Kind::Leaf));
            if !keeps {
                live.remove(name);
            }
            continue;
        }
        let below = |error: BadItem| error.below(&PathElement::field(name));
        match live.get_mut(name) {
            Some(value) => merge(set, node, value, wanted).map_err(below)?,
            None => {
                let mut value = Value::Null;
                merge(set, node, &mut value, wanted).map_err(below)?;
                live.insert(name.clone(), value);
            }
        }
    }
    Ok(())
}

/// Merges the items of an associative list. The configuration's items come in its order; the live ones that it does not
/// name stay where they are relative to those both have.
fn merge_items(set: &SchemaSet, list: ListItems<'_>, live: Vec<Value>, config: &[Value]) -> Result<Vec<Value>, BadItem> {
    let ours = elements(set, list, config)?;
    let theirs: Vec<_> = elements(set, list, &live)?.into_iter().map(PathElement::into_owned).collect();
    let mut wanted = BTreeSet::new();
    for element in &ours {
        if !wanted.insert(element) {
            return Err(BadItem::twice(element));
        }
    }
    // Live items that are there twice are not merged with the configuration's one.
    let mut places: BTreeMap<&PathElement<'_>, Option<usize>> = BTreeMap::new();
    for (place, element) in theirs.iter().enumerate() {
        places.entry(element).and_modify(|known| *known = None).or_insert(Some(place));
    }
    let mut live: Vec<Option<Value>> = live.into_iter().map(Some).collect();
    let mut take = |element: &PathElement<'_>, config: &Value| {
        let known = places.get(element).copied().flatten();
        let mut value = known.and_then(|place| live.get_mut(place)?.take()).unwrap_or(Value::Null);
        merge(set, list.node, &mut value, config).map_err(|error| error.below(element))?;
        Ok::<_, BadItem>(value)
    };

    let mut shared = ours.iter().filter(|element| places.contains_key(element)).peekable();
    let mut merged: BTreeSet<&PathElement<'_>> = BTreeSet::new();
    let mut order: Vec<Place> = Vec::with_capacity(theirs.len().max(ours.len()));
    let (mut left, mut right) = (0, 0);
    while left < theirs.len() || right < ours.len() {
        if let (Some(their), Some(our)) = (theirs.get(left), ours.get(right)) {
            if their == our {
                merged.insert(our);
                order.push(Place::Config(right));
                left += 1;
                right += 1;
                shared.next();
                continue;
            }
            if wanted.contains(their) && shared.peek().is_some_and(|next| *next != their) {
                // Both have it, but not next.
                left += 1;
                continue;
            }
        }
        if let Some(their) = theirs.get(left) {
            if !wanted.contains(their) {
                order.push(Place::Live(left));
                left += 1;
                continue;
            }
            if merged.contains(their) {
                left += 1;
            }
        }
        if let Some(our) = ours.get(right) {
            merged.insert(our);
            order.push(Place::Config(right));
            right += 1;
            shared.next_if(|next| *next == our);
        }
    }

    // The configuration's items first, since they take live items by element, not by place.
    let mut from_config: BTreeMap<usize, Value> = BTreeMap::new();
    for place in &order {
        if let Place::Config(place) = place {
            from_config.insert(*place, take(&ours[*place], &config[*place])?);
        }
    }
    Ok(order
        .into_iter()
        .filter_map(|place| match place {
            Place::Config(place) => from_config.remove(&place),
            Place::Live(place) => live.get_mut(place)?.take(),
        })
        .collect())
}

/// What tells the items of a list apart, in their order.
fn elements<'a>(set: &'a SchemaSet, list: ListItems<'a>, items: &'a [Value]) -> Result<Vec<PathElement<'a>>, BadItem> {
    let element = |(place, item)| list.element(set, item).map_err(|reason| BadItem::new(place, reason));
    items.iter().enumerate().map(element).collect()
}

/// Where an item of the merged list comes from.
#[derive(Clone, Copy)]
enum Place {
    Live(usize),
    Config(usize),
}
