//! A small set of schemas with every shape that merging tells apart.

use std::sync::Arc;

use mizzen_api::schema::{Field, ListKind, ObjectShape, PatchStrategy, Schema, SchemaSet, Shape};
use serde_json::{Value, json};

pub(crate) fn schema(shape: Shape) -> Schema {
    Schema { description: None, shape }
}

pub(crate) fn string() -> Schema {
    schema(Shape::String { format: None, enumeration: Vec::new() })
}

fn integer() -> Schema {
    schema(Shape::Integer { format: None })
}

fn list(items: Schema, kind: ListKind) -> Schema {
    schema(Shape::List { items: Box::new(items), kind })
}

fn map(atomic: bool) -> Schema {
    schema(Shape::Map { values: Box::new(string()), atomic })
}

fn keyed(keys: &[&str]) -> ListKind {
    ListKind::Map { keys: keys.iter().map(|key| Arc::from(*key)).collect() }
}

fn field(schema: Schema) -> Field {
    Field { schema, required: false, default: None, patch: PatchStrategy::default() }
}

fn object(fields: Vec<(&str, Field)>, atomic: bool) -> Schema {
    let fields = fields.into_iter().map(|(name, field)| (Arc::from(name), field)).collect();
    schema(Shape::Object(ObjectShape { fields, atomic, ..ObjectShape::default() }))
}

fn reference(name: &str) -> Schema {
    schema(Shape::Ref(Arc::from(name)))
}

fn by(key: &str) -> PatchStrategy {
    PatchStrategy { merge: true, merge_key: Some(Arc::from(key)), ..PatchStrategy::default() }
}

/// `Deployment`, as far as the tests look at it.
pub(crate) fn schemas() -> SchemaSet {
    let port = object(
        vec![
            ("containerPort", Field { required: true, ..field(integer()) }),
            ("protocol", Field { default: Some(json!("TCP")), ..field(string()) }),
            ("name", field(string())),
        ],
        false,
    );
    let container = object(
        vec![
            ("name", Field { required: true, ..field(string()) }),
            ("image", field(string())),
            ("args", field(list(string(), ListKind::Atomic))),
            ("ports", Field { patch: by("containerPort"), ..field(list(port, keyed(&["containerPort", "protocol"]))) }),
            ("resources", field(object(vec![("limits", field(map(false)))], false))),
        ],
        false,
    );
    let containers = list(reference("Container"), keyed(&["name"]));
    let spec = object(
        vec![
            ("replicas", field(integer())),
            ("paused", field(schema(Shape::Boolean))),
            ("selector", field(object(vec![("matchLabels", field(map(false)))], true))),
            ("nodeSelector", field(map(true))),
            ("containers", Field { required: true, patch: by("name"), ..field(containers) }),
            ("extension", field(schema(Shape::Any))),
        ],
        false,
    );
    let metadata = object(
        vec![
            ("name", field(string())),
            ("labels", field(map(false))),
            ("annotations", field(map(false))),
            (
                "finalizers",
                Field {
                    patch: PatchStrategy { merge: true, ..PatchStrategy::default() },
                    ..field(list(string(), ListKind::Set))
                },
            ),
        ],
        false,
    );
    let status = object(vec![("replicas", field(integer()))], false);
    let mut set = SchemaSet::default();
    set.insert("Container", container);
    set.insert(
        "Deployment",
        object(
            vec![
                ("apiVersion", field(string())),
                ("kind", field(string())),
                ("metadata", field(metadata)),
                ("spec", field(spec)),
                ("status", field(status)),
            ],
            false,
        ),
    );
    set
}

/// A deployment with this metadata and spec.
pub(crate) fn deployment(metadata: Value, spec: Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec});
    if let (Some(into), Value::Object(fields)) = (object["metadata"].as_object_mut(), metadata) {
        into.extend(fields);
    }
    object
}
