//! Schemas that are made when somebody asks for them. A cluster has hundreds of custom kinds, and most of them are never looked
//! at: their parsed schemas would take ten times the memory of the definitions that they are in.

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::Schema;
use crate::GroupVersionKind;

type Make = Box<dyn FnOnce() -> Arc<Schema> + Send>;

/// The schema of a top-level kind, made when it is first asked for and kept after that.
#[derive(Debug)]
pub struct Later {
    kind: GroupVersionKind,
    schema: LazyLock<Arc<Schema>, Make>,
}

impl Later {
    pub fn new(kind: GroupVersionKind, make: impl FnOnce() -> Schema + Send + 'static) -> Arc<Self> {
        Arc::new(Self { kind, schema: LazyLock::new(Box::new(|| Arc::new(make()))) })
    }

    pub(super) fn kind(&self) -> &GroupVersionKind {
        &self.kind
    }

    pub(super) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }
}

/// A schema of OpenAPI v3, made each time it is asked for: documents that are published are kept as text. References in it
/// begin with `#/components/schemas/`.
#[derive(Clone)]
pub struct Published(Arc<dyn Fn() -> Value + Send + Sync>);

impl Published {
    pub fn new(make: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub fn value(&self) -> Value {
        (self.0)()
    }
}

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Published")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::schema::{ObjectShape, SchemaSet, Shape};

    #[test]
    fn a_schema_is_made_once_and_only_when_it_is_asked_for() {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let kind = GroupVersionKind::new("example.com", "v1", "Thing");
        let later = Later::new(kind.clone(), || {
            MADE.fetch_add(1, Ordering::Relaxed);
            Schema { description: None, shape: Shape::Object(ObjectShape::default()) }
        });
        let mut set = SchemaSet::default();
        set.insert_later("com.example.v1.Thing".into(), later);
        let other = set.clone();
        assert_eq!(set.name_of(&kind).map(|name| &**name), Some("com.example.v1.Thing"));
        assert!(set.contains("com.example.v1.Thing"));
        assert_eq!(MADE.load(Ordering::Relaxed), 0);
        for set in [&set, &other] {
            assert!(set.get("com.example.v1.Thing").is_some());
        }
        assert_eq!(MADE.load(Ordering::Relaxed), 1);
    }
}
