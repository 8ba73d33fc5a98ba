//! A pod, or the template of one, as the checks look at it.

use serde_json::Value;

/// Metadata and spec of a pod.
pub(in super::super) struct Pod<'a> {
    metadata: Option<&'a Value>,
    pub(super) spec: &'a Value,
}

#[derive(Clone, Copy)]
pub(super) struct Container<'a>(pub(super) &'a Value);

static NOTHING: Value = Value::Null;

impl<'a> Pod<'a> {
    pub(in super::super) fn of(document: &'a Value) -> Self {
        Self { metadata: document.get("metadata"), spec: document.get("spec").unwrap_or(&NOTHING) }
    }

    /// Init, ordinary and ephemeral ones, in this order.
    pub(super) fn containers(&self) -> impl Iterator<Item = Container<'a>> + use<'a> {
        let spec = self.spec;
        let lists = ["initContainers", "containers", "ephemeralContainers"].into_iter();
        lists.flat_map(move |list| list_of(spec, list)).map(Container)
    }

    pub(super) fn volumes(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        list_of(self.spec, "volumes")
    }

    /// A field of the pod's own security context.
    pub(super) fn security(&self, pointer: &str) -> Option<&'a Value> {
        self.spec.get("securityContext")?.pointer(pointer)
    }

    pub(super) fn flag(&self, field: &str) -> bool {
        self.spec.get(field).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn annotations(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let map = self.metadata.and_then(|metadata| metadata.get("annotations")).and_then(Value::as_object);
        map.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
    }

    pub(super) fn is_windows(&self) -> bool {
        self.spec.pointer("/os/name").and_then(Value::as_str) == Some("windows")
    }

    /// In a user namespace root is nobody outside.
    pub(super) fn has_own_users(&self) -> bool {
        self.spec.get("hostUsers").and_then(Value::as_bool) == Some(false)
    }
}

impl<'a> Container<'a> {
    pub(super) fn name(self) -> &'a str {
        self.0.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn security(self, pointer: &str) -> Option<&'a Value> {
        self.0.get("securityContext")?.pointer(pointer).filter(|value| !value.is_null())
    }

    pub(super) fn list(self, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        list_of(self.0, field)
    }
}

fn list_of<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}
