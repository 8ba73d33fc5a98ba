//! The shape of documents: what defaulting, validation, patching, server-side apply, `explain` and OpenAPI all read.

mod check;
mod defaults;
mod facts;
mod later;
mod prune;
mod source;

pub use check::{Problem, check, note};
pub use defaults::apply_defaults;
pub use later::{Later, Published};
pub use prune::prune;
pub use source::builtin;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

/// Named schemas, keyed as OpenAPI names them, for example `io.k8s.api.core.v1.PodSpec`.
#[derive(Clone, Debug, Default)]
pub struct SchemaSet {
    definitions: HashMap<Arc<str>, Definition>,
    kinds: HashMap<crate::GroupVersionKind, Arc<str>>,
    published: HashMap<Arc<str>, Published>,
}

#[derive(Clone, Debug)]
enum Definition {
    Made(Arc<Schema>),
    Later(Arc<Later>),
}

impl Definition {
    fn schema(&self) -> &Arc<Schema> {
        match self {
            Self::Made(schema) => schema,
            Self::Later(later) => later.schema(),
        }
    }
}

impl SchemaSet {
    pub fn insert(&mut self, name: impl Into<Arc<str>>, schema: Schema) {
        let name = name.into();
        if let Shape::Object(object) = &schema.shape {
            for kind in &object.kinds {
                self.kinds.insert(kind.clone(), name.clone());
            }
        }
        self.definitions.insert(name, Definition::Made(Arc::new(schema)));
    }

    /// Adds the schema of a kind that is made when somebody asks for it.
    pub fn insert_later(&mut self, name: Arc<str>, schema: Arc<Later>) {
        self.kinds.insert(schema.kind().clone(), name.clone());
        self.definitions.insert(name, Definition::Later(schema));
    }

    /// The name of the schema of a top-level kind, lists and subresource bodies (`Scale`, `Binding`, …) among them.
    pub fn name_of(&self, kind: &crate::GroupVersionKind) -> Option<&Arc<str>> {
        self.kinds.get(kind)
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Schema>> {
        self.definitions.get(name).map(Definition::schema)
    }

    /// Whether there is a schema of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.definitions.contains_key(name)
    }

    /// Sets what OpenAPI says under a name, where that is more than a [`Schema`] can say (custom kinds).
    pub fn publish(&mut self, name: Arc<str>, schema: Published) {
        self.published.insert(name, schema);
    }

    /// What is published under a name as it is, in OpenAPI v3.
    pub fn published(&self, name: &str) -> Option<&Published> {
        self.published.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Schema>)> {
        self.definitions.iter().map(|(name, definition)| (name, definition.schema()))
    }

    /// Follows references until a schema with a shape of its own. A dangling reference is `Shape::Any`.
    pub fn resolve<'a>(&'a self, schema: &'a Schema) -> &'a Schema {
        static ANY: Schema = Schema { description: None, shape: Shape::Any };
        let mut schema = schema;
        while let Shape::Ref(name) = &schema.shape {
            schema = match self.get(name) {
                Some(target) => target,
                None => &ANY,
            };
        }
        schema
    }
}

#[derive(Clone, Debug)]
pub struct Schema {
    pub description: Option<Arc<str>>,
    pub shape: Shape,
}

#[derive(Clone, Debug)]
pub enum Shape {
    /// A named schema of the same set.
    Ref(Arc<str>),
    /// A struct: known fields.
    Object(ObjectShape),
    /// String keys, values of one schema.
    Map {
        values: Box<Schema>,
        atomic: bool,
    },
    List {
        items: Box<Schema>,
        kind: ListKind,
    },
    /// `enumeration` empty means any string. `format` as in OpenAPI (`date-time`, `byte`, …).
    String {
        format: Option<Arc<str>>,
        enumeration: Vec<Arc<str>>,
    },
    Integer {
        format: Option<Arc<str>>,
    },
    Number {
        format: Option<Arc<str>>,
    },
    Boolean,
    /// `util/intstr.IntOrString`.
    IntOrString,
    /// `resource.Quantity`: a string, or a number that means one.
    Quantity,
    /// Any JSON value, kept as it is (`RawExtension`, `FieldsV1`, `JSON`).
    Any,
}

#[derive(Clone, Debug, Default)]
pub struct ObjectShape {
    pub fields: BTreeMap<Arc<str>, Field>,
    /// `x-kubernetes-map-type: atomic`: the struct has one owner.
    pub atomic: bool,
    /// Unknown fields belong here (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
    /// `x-kubernetes-group-version-kind`, where the struct is a top-level kind.
    pub kinds: Vec<crate::GroupVersionKind>,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub schema: Schema,
    pub required: bool,
    /// A default that every object of the kind gets (defaults that depend on other fields are the kind's code).
    /// Empty defaults (`""`, `0`, `false`) say what an absent field means, for example as a list-map key; they are
    /// not written into documents.
    pub default: Option<Value>,
    /// `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key`, for strategic merge patch.
    pub patch: PatchStrategy,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged, by `merge_key` or as sets; without it they are replaced.
    pub merge: bool,
    /// `retainKeys`: fields that the patch's `$retainKeys` does not name are cleared.
    pub retain_keys: bool,
    pub merge_key: Option<Arc<str>>,
}

/// `x-kubernetes-list-type`, which says who owns what in a list (server-side apply).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    Atomic,
    Set,
    /// Elements are told apart by these fields (`x-kubernetes-list-map-keys`).
    Map {
        keys: Vec<Arc<str>>,
    },
}
