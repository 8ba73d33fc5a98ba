//! What is known of a value before it is there.

use kube_cel::cel::common::ast::operators;
use mizzen_api::schema::{Schema, SchemaSet, Shape};
use mizzen_api::validate::CEL_RESERVED;

use super::access::compared;
use super::names::escape;
use super::types::Plain;
use crate::schema::{Structural, Type};

/// What is known of a value.
#[derive(Clone, Copy)]
pub(super) enum Known<'a> {
    /// Typed by a schema; the flag says whether it is a whole object with metadata.
    Of(&'a Structural, bool),
    /// A key of a map of this schema.
    KeyOf(&'a Structural),
    /// Typed by a schema of a set.
    In(&'a SchemaSet, &'a Schema),
    Plain(Plain),
    /// A list that is written out, all its items of one type.
    ListOf(Plain),
    Unknown,
}

/// What a field is; `None` when the schema says that there is none.
pub(super) fn child<'a>(schema: &'a Structural, whole: bool, name: &str) -> Option<Known<'a>> {
    if whole && matches!(name, "metadata" | "apiVersion" | "kind") {
        return Some(Known::Unknown);
    }
    if let Some(values) = &schema.additional {
        return Some(Known::Of(values, values.embedded));
    }
    let reserved = schema.properties.get_key_value(name).filter(|_| CEL_RESERVED.contains(&name));
    let property = reserved.or_else(|| schema.properties.iter().find(|(property, _)| escape(property) == name));
    match property {
        Some((_, property)) => Some(Known::Of(property, property.embedded)),
        None if schema.kind != Type::Object || schema.preserve_unknown => Some(Known::Unknown),
        None => None,
    }
}

/// The same in a schema of a set; the fields of policies' objects have no escapes.
pub(super) fn child_in<'a>(set: &'a SchemaSet, schema: &'a Schema, name: &str) -> Option<Known<'a>> {
    match &set.resolve(schema).shape {
        Shape::Object(object) => match object.fields.get(name) {
            Some(field) => Some(Known::In(set, &field.schema)),
            None if object.preserve_unknown || object.fields.is_empty() => Some(Known::Unknown),
            None => None,
        },
        Shape::Map { values, .. } => Some(Known::In(set, values)),
        _ => Some(Known::Unknown),
    }
}

/// What is in a list or a map.
pub(super) fn element<'a>(set: &'a SchemaSet, schema: &'a Schema) -> Known<'a> {
    match &set.resolve(schema).shape {
        Shape::List { items, .. } => Known::In(set, items),
        Shape::Map { values, .. } => Known::In(set, values),
        _ => Known::Unknown,
    }
}

/// The operator `in`, which was given a name of its own.
pub(super) fn is_search(function: &str) -> bool {
    function == operators::IN || compared(operators::IN) == Some(function)
}

/// What is wrong with looking for something in what holds only things of another type.
pub(super) fn not_in(sought: Known<'_>, range: Known<'_>) -> Option<String> {
    let (sought, held) = (plain(sought)?, held(range)?);
    if sought == held || [sought, held].contains(&Plain::Null) {
        return None;
    }
    let name = |known: Option<Plain>| known.map_or("dyn", Plain::as_str);
    let range = match range {
        Known::Of(Structural { additional: Some(values), .. }, _) => {
            format!("map(string, {})", name(plain(Known::Of(values, false))))
        }
        Known::In(set, schema) => match &set.resolve(schema).shape {
            Shape::Map { values, .. } => format!("map(string, {})", name(plain(Known::In(set, values)))),
            _ => format!("list({})", held.as_str()),
        },
        _ => format!("list({})", held.as_str()),
    };
    Some(format!("found no matching overload for '@in' applied to '({}, {range})'", sought.as_str()))
}

/// The type of the items of a list, or of the keys of a map.
fn held(range: Known<'_>) -> Option<Plain> {
    match range {
        Known::ListOf(items) => Some(items),
        Known::Of(schema, _) if !schema.nullable => match (&schema.items, &schema.additional) {
            (Some(items), _) => plain(Known::Of(items, items.embedded)),
            (None, Some(_)) => Some(Plain::Text),
            _ => None,
        },
        Known::In(set, schema) => match &set.resolve(schema).shape {
            Shape::List { items, .. } => plain(Known::In(set, items)),
            Shape::Map { .. } => Some(Plain::Text),
            _ => None,
        },
        _ => None,
    }
}

/// The type of a whole expression, where it is known for sure: a field that may be null is of its type, too.
pub(super) fn outcome(known: Known<'_>) -> Option<Plain> {
    match known {
        Known::Of(schema, _) if schema.nullable && !schema.int_or_string => of_kind(schema),
        known => plain(known),
    }
}

fn of_kind(schema: &Structural) -> Option<Plain> {
    match schema.kind {
        Type::Boolean => Some(Plain::Bool),
        Type::Integer => Some(Plain::Int),
        Type::Number => Some(Plain::Double),
        Type::Array => Some(Plain::List),
        Type::Object => Some(Plain::Map),
        Type::String => match schema.limits.format.as_deref() {
            None => Some(Plain::Text),
            // Some formats are types of their own.
            Some(_) => None,
        },
        Type::Any => None,
    }
}

/// The type of a value, where it is known for sure.
pub(super) fn plain(known: Known<'_>) -> Option<Plain> {
    match known {
        Known::Plain(plain) => Some(plain),
        Known::ListOf(_) => Some(Plain::List),
        Known::KeyOf(schema) if schema.kind == Type::Object => Some(Plain::Text),
        Known::Of(schema, _) if !schema.nullable && !schema.int_or_string => of_kind(schema),
        Known::In(set, schema) => match &set.resolve(schema).shape {
            Shape::Boolean => Some(Plain::Bool),
            Shape::Integer { .. } => Some(Plain::Int),
            Shape::Number { .. } => Some(Plain::Double),
            Shape::String { format: None, .. } => Some(Plain::Text),
            Shape::List { .. } => Some(Plain::List),
            Shape::Object(_) | Shape::Map { .. } => Some(Plain::Map),
            _ => None,
        },
        _ => None,
    }
}
