//! A structural schema as the shape that patches, server-side apply and lists of fields read.

use std::sync::Arc;

use mizzen_api::GroupVersionKind;
use mizzen_api::schema::{Field, ListKind, ObjectShape, PatchStrategy, Schema, Shape};

use super::structural::{ListType, Structural, Type};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The shape of a whole document of `kind`.
pub fn shape(schema: &Structural, kind: GroupVersionKind) -> Schema {
    let mut object = object(schema);
    add_object_fields(&mut object);
    object.kinds.push(kind);
    Schema { description: schema.description.clone(), shape: Shape::Object(object) }
}

fn add_object_fields(object: &mut ObjectShape) {
    let text = || Schema { description: None, shape: Shape::String { format: None, enumeration: Vec::new() } };
    let metadata = Schema { description: None, shape: Shape::Ref(OBJECT_META.into()) };
    for (name, schema) in [("apiVersion", text()), ("kind", text()), ("metadata", metadata)] {
        object.fields.insert(name.into(), field(schema, false, None));
    }
}

fn field(schema: Schema, required: bool, default: Option<serde_json::Value>) -> Field {
    Field { schema, required, default, patch: PatchStrategy::default() }
}

fn object(schema: &Structural) -> ObjectShape {
    let fields = schema
        .properties
        .iter()
        .map(|(name, property)| {
            let required = schema.limits.required.contains(name);
            (Arc::from(name.as_str()), field(nested(property), required, property.default.clone()))
        })
        .collect();
    ObjectShape { fields, atomic: schema.atomic_map, preserve_unknown: schema.preserve_unknown, kinds: Vec::new() }
}

fn nested(schema: &Structural) -> Schema {
    let shape = match schema.kind {
        _ if schema.int_or_string => Shape::IntOrString,
        Type::Object => match &schema.additional {
            Some(values) => Shape::Map { values: Box::new(nested(values)), atomic: schema.atomic_map },
            None => {
                let mut object = object(schema);
                if schema.embedded {
                    add_object_fields(&mut object);
                }
                Shape::Object(object)
            }
        },
        Type::Array => Shape::List {
            items: Box::new(schema.items.as_deref().map_or(Schema { description: None, shape: Shape::Any }, nested)),
            kind: match &schema.list_type {
                ListType::Atomic => ListKind::Atomic,
                ListType::Set => ListKind::Set,
                ListType::Map(keys) => ListKind::Map { keys: keys.iter().map(|key| Arc::from(key.as_str())).collect() },
            },
        },
        Type::String => Shape::String { format: schema.limits.format.as_deref().map(Arc::from), enumeration: Vec::new() },
        Type::Integer => Shape::Integer { format: schema.limits.format.as_deref().map(Arc::from) },
        Type::Number => Shape::Number { format: schema.limits.format.as_deref().map(Arc::from) },
        Type::Boolean => Shape::Boolean,
        Type::Any => Shape::Any,
    };
    Schema { description: schema.description.clone(), shape }
}
