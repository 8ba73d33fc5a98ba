//! Stepping down a schema: what the value of a key is.

use std::sync::LazyLock;

use mizzen_api::schema::{Field, PatchStrategy, Schema, SchemaSet, Shape};

/// What nothing is known of.
pub(crate) static ANY: Schema = Schema { description: None, shape: Shape::Any };

static NO_STRATEGY: LazyLock<PatchStrategy> = LazyLock::new(PatchStrategy::default);

/// The schema of one key of an object, and the field that declares it, if one does.
#[derive(Clone, Copy)]
pub(crate) struct Child<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) field: Option<&'a Field>,
}

impl<'a> Child<'a> {
    pub(crate) fn patch(self) -> &'a PatchStrategy {
        self.field.map_or_else(|| &*NO_STRATEGY, |field| &field.patch)
    }
}

/// What `key` is in an object of `schema`; an unknown key holds anything.
pub(crate) fn child<'a>(set: &'a SchemaSet, schema: &'a Schema, key: &str) -> Child<'a> {
    match &set.resolve(schema).shape {
        Shape::Object(object) => match object.fields.get(key) {
            Some(field) => Child { schema: &field.schema, field: Some(field) },
            None => Child { schema: &ANY, field: None },
        },
        Shape::Map { values, .. } => Child { schema: values, field: None },
        _ => Child { schema: &ANY, field: None },
    }
}

/// What the items of a list of `schema` are.
pub(crate) fn items<'a>(set: &'a SchemaSet, schema: &'a Schema) -> &'a Schema {
    match &set.resolve(schema).shape {
        Shape::List { items, .. } => items,
        _ => &ANY,
    }
}
