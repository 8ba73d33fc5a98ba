//! Where a walk through a document stands in the schema, and what that means for who owns what there.

use std::borrow::Cow;
use std::sync::Arc;

use mizzen_api::schema::{ListKind, ObjectShape, Schema, SchemaSet, Shape};
use serde_json::{Map, Value};

use super::path::{PathElement, Scalar};

/// The schema of a value. Where nothing is declared it is deduced from the value: objects by key, all else as one.
#[derive(Clone, Copy)]
pub(super) enum Node<'a> {
    Declared(&'a Schema),
    Deduced,
}

/// How a value is owned.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    /// As a whole: scalars, atomic lists and maps, and values that do not fit their schema.
    Leaf,
    Fields(Fields<'a>),
    List(ListItems<'a>),
}

#[derive(Clone, Copy)]
pub(super) enum Fields<'a> {
    Struct(&'a ObjectShape),
    Map(&'a Schema),
    Deduced,
}

#[derive(Clone, Copy)]
pub(super) struct ListItems<'a> {
    pub(super) node: Node<'a>,
    /// The key fields of an associative list; `None` for a set.
    keys: Option<&'a [Arc<str>]>,
}

impl<'a> Node<'a> {
    /// The root of an object; a kind without a schema is deduced.
    pub(super) fn root(set: &'a SchemaSet, schema: &str) -> Self {
        set.get(schema).map_or(Self::Deduced, |schema| Self::Declared(schema))
    }

    /// How `values` are owned here; they may be missing or null, but have to be of one kind.
    pub(super) fn kind(self, set: &'a SchemaSet, values: [Option<&Value>; 2]) -> Kind<'a> {
        let fit = |fits: fn(&Value) -> bool| values.into_iter().flatten().all(|value| value.is_null() || fits(value));
        let shape = match self {
            Self::Declared(schema) => &set.resolve(schema).shape,
            Self::Deduced => {
                let is_object = values.into_iter().flatten().any(Value::is_object) && fit(Value::is_object);
                return if is_object { Kind::Fields(Fields::Deduced) } else { Kind::Leaf };
            }
        };
        match shape {
            Shape::Object(object) if !object.atomic && fit(Value::is_object) => Kind::Fields(Fields::Struct(object)),
            Shape::Map { values, atomic: false } if fit(Value::is_object) => Kind::Fields(Fields::Map(values)),
            Shape::List { items, kind: ListKind::Set } if fit(Value::is_array) => {
                Kind::List(ListItems { node: Node::Declared(items), keys: None })
            }
            Shape::List { items, kind: ListKind::Map { keys } } if fit(Value::is_array) => {
                Kind::List(ListItems { node: Node::Declared(items), keys: Some(keys) })
            }
            _ => Kind::Leaf,
        }
    }

    /// The node below, by the path alone, and whether it is a declared field of a struct.
    pub(super) fn step(self, set: &'a SchemaSet, element: &PathElement<'_>) -> (Self, bool) {
        let Self::Declared(schema) = self else { return (Self::Deduced, false) };
        match (&set.resolve(schema).shape, element) {
            (Shape::Object(object), PathElement::Field(name)) => Fields::Struct(object).child(name),
            (Shape::Map { values, .. }, PathElement::Field(_)) => (Self::Declared(values), false),
            (Shape::List { items, .. }, _) => (Self::Declared(items), false),
            _ => (Self::Deduced, false),
        }
    }
}

impl<'a> Fields<'a> {
    /// The node of a key, and whether it is a declared field of a struct.
    pub(super) fn child(self, name: &str) -> (Node<'a>, bool) {
        match self {
            Self::Struct(object) => match object.fields.get(name) {
                Some(field) => (Node::Declared(&field.schema), true),
                None => (Node::Deduced, false),
            },
            Self::Map(values) => (Node::Declared(values), false),
            Self::Deduced => (Node::Deduced, false),
        }
    }

    /// Whether a field is there even when a document does not show it, so that filling it does not add it: required
    /// fields, and the structs that the API's types hold by value. The schema does not tell those from optional ones, but
    /// they have the same names in every kind.
    pub(super) fn always_present(self, name: &str) -> bool {
        const BY_VALUE: &[&str] =
            &["metadata", "spec", "status", "template", "strategy", "updateStrategy", "jobTemplate", "loadBalancer", "resources"];
        let Self::Struct(object) = self else { return false };
        object.fields.get(name).is_some_and(|field| field.required || BY_VALUE.contains(&name))
    }
}

impl<'a> ListItems<'a> {
    /// What tells `item` apart from the other items.
    pub(super) fn element<'v>(self, set: &'v SchemaSet, item: &'v Value) -> Result<PathElement<'v>, String>
    where
        'a: 'v,
    {
        let Some(keys) = self.keys else {
            return match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                scalar => Ok(PathElement::Value(Scalar(Cow::Borrowed(scalar)))),
            };
        };
        match item {
            Value::Object(fields) => self.key_of(set, keys, fields),
            Value::Null => Err("associative list with keys may not have a null element".to_owned()),
            _ => Err("associative list with keys may not have non-map elements".to_owned()),
        }
    }

    fn key_of<'v>(
        self,
        set: &'v SchemaSet,
        keys: &'v [Arc<str>],
        fields: &'v Map<String, Value>,
    ) -> Result<PathElement<'v>, String>
    where
        'a: 'v,
    {
        let mut key: Vec<(Cow<'v, str>, Scalar<'v>)> = Vec::with_capacity(keys.len());
        for name in keys {
            if let Some(value) = fields.get(name.as_ref()).or_else(|| self.default_of(set, name)) {
                key.push((Cow::Borrowed(&**name), Scalar(Cow::Borrowed(value))));
            }
        }
        if key.is_empty() {
            return Err(format!(
                "associative list with keys has an element that omits all key fields {keys:?} \
                 (and doesn't have default values for any key fields)"
            ));
        }
        key.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(PathElement::Key(key))
    }

    fn default_of<'s>(self, set: &'s SchemaSet, name: &str) -> Option<&'s Value>
    where
        Self: 's,
    {
        let Node::Declared(schema) = self.node else { return None };
        match &set.resolve(schema).shape {
            Shape::Object(object) => object.fields.get(name)?.default.as_ref(),
            _ => None,
        }
    }
}

/// Null, or a list or object with nothing in it.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
