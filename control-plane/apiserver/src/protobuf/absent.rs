//! Documents as Go's types hold them. A field that is no pointer cannot tell zero from absent, and none that is empty is
//! written (`omitempty`). So whoever reads an object into such types and sends it back leaves out what somebody else had
//! written as `false`, `0`, `""`, `[]` or `{}`: were it kept, that would be a change, of a template even a new rollout.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::layout::{self, Entry, Field, Kind, Layouts};

/// Leaves out of a document what its schema's type cannot tell from absent. Documents of kinds that are not built in have no
/// such type, and stay as they are.
pub(crate) fn leave_out(schema: &str, document: &mut Value) {
    static TYPES: LazyLock<Vec<Type>> = LazyLock::new(|| types(layout::builtin()));
    if let (Some(index), Some(fields)) = (layout::builtin().named(schema), document.as_object_mut()) {
        Cleaner { types: &TYPES }.fields(index, fields);
    }
}

/// Fields by name, those of inlined structs among them.
type Type = Vec<(&'static str, Held)>;

/// What becomes of a field's value.
struct Held {
    /// It goes where it is this.
    absent: Option<Empty>,
    /// The type of the structs in it.
    inside: Option<usize>,
}

#[derive(Clone, Copy)]
enum Empty {
    Text,
    Number,
    Boolean,
    List,
    Map,
}

impl Empty {
    fn is(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text, Value::String(text)) => text.is_empty(),
            (Self::Number, Value::Number(number)) => number.as_f64() == Some(0.0),
            (Self::Boolean, Value::Bool(value)) => !value,
            (Self::List, Value::Array(list)) => list.is_empty(),
            (Self::Map, Value::Object(map)) => map.is_empty(),
            _ => false,
        }
    }
}

fn types(layouts: &Layouts) -> Vec<Type> {
    let of = |index| {
        let mut fields = Type::new();
        collect(layouts, index, &mut fields);
        fields.sort_unstable_by_key(|(name, _)| *name);
        fields
    };
    (0..layouts.len()).map(of).collect()
}

fn collect(layouts: &Layouts, index: usize, fields: &mut Type) {
    for entry in layouts.message(index).entries() {
        match entry {
            Entry::Field(field) => fields.push((field.name, held(field))),
            Entry::Inline { message, .. } => collect(layouts, *message, fields),
        }
    }
}

fn held(field: &Field) -> Held {
    let absent = match &field.kind {
        _ if field.kept || field.required => None,
        Kind::Text | Kind::Bytes => Some(Empty::Text),
        Kind::Integer | Kind::Double => Some(Empty::Number),
        Kind::Boolean => Some(Empty::Boolean),
        Kind::List(_) => Some(Empty::List),
        Kind::Map(_) => Some(Empty::Map),
        _ => None,
    };
    Held { absent, inside: inside(&field.kind) }
}

fn inside(kind: &Kind) -> Option<usize> {
    match kind {
        Kind::Message(index) => Some(*index),
        Kind::List(items) | Kind::Map(items) => inside(items),
        Kind::Union(union) => inside(&union.message),
        _ => None,
    }
}

struct Cleaner<'a> {
    types: &'a [Type],
}

impl Cleaner<'_> {
    fn fields(&self, index: usize, object: &mut Map<String, Value>) {
        let fields = &self.types[index];
        object.retain(|key, value| {
            let Ok(at) = fields.binary_search_by_key(&key.as_str(), |(name, _)| name) else { return true };
            let (_, held) = &fields[at];
            if held.absent.is_some_and(|empty| empty.is(value)) {
                return false;
            }
            if let Some(index) = held.inside {
                self.value(index, value, matches!(held.absent, Some(Empty::Map)));
            }
            true
        });
    }

    fn value(&self, index: usize, value: &mut Value, is_map: bool) {
        match value {
            Value::Object(map) if is_map => map.values_mut().for_each(|value| self.value(index, value, false)),
            Value::Object(object) => self.fields(index, object),
            Value::Array(list) => list.iter_mut().for_each(|item| self.value(index, item, false)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn left(schema: &str, mut document: Value) -> Value {
        leave_out(&format!("io.k8s.api.{schema}"), &mut document);
        document
    }

    #[test]
    fn what_go_cannot_tell_from_absent_is_left_out() {
        let pod = json!({"metadata": {"name": "a", "labels": {}}, "spec": {
            "hostNetwork": false, "nodeSelector": {}, "volumes": [], "nodeName": "", "priority": 0, "hostUsers": false,
            "automountServiceAccountToken": false, "affinity": {}, "securityContext": {"runAsUser": 0, "supplementalGroups": []},
            "containers": [{"name": "c", "stdin": false, "args": [], "resources": {"limits": {}}, "ports": [{"containerPort": 80, "hostPort": 0}]}],
        }});
        let wanted = json!({"metadata": {"name": "a"}, "spec": {
            "priority": 0, "hostUsers": false, "automountServiceAccountToken": false, "affinity": {},
            "securityContext": {"runAsUser": 0}, "containers": [{"name": "c", "resources": {}, "ports": [{"containerPort": 80}]}],
        }});
        assert_eq!(left("core.v1.Pod", pod), wanted);
    }

    #[test]
    fn what_go_always_writes_stays() {
        let set = json!({"spec": {"replicas": 0, "minReadySeconds": 0}, "status": {"replicas": 0, "readyReplicas": 0}});
        assert_eq!(left("apps.v1.ReplicaSet", set), json!({"spec": {"replicas": 0}, "status": {"replicas": 0}}));
        assert_eq!(left("rbac.v1.ClusterRole", json!({"rules": []})), json!({"rules": []}));
        let status = json!({"containerStatuses": [{"name": "", "ready": false, "restartCount": 0, "image": "", "imageID": "", "containerID": ""}]});
        let wanted = json!({"containerStatuses": [{"name": "", "ready": false, "restartCount": 0, "image": "", "imageID": ""}]});
        assert_eq!(left("core.v1.PodStatus", status), wanted);
    }

    #[test]
    fn structs_in_maps_and_schemas_are_looked_into_and_documents_of_ones_own_are_not() {
        let schema =
            json!({"properties": {"a": {"nullable": false, "default": {"x": [], "y": 0}, "additionalProperties": {"type": ""}}}});
        let mut definition = json!({"spec": {"versions": [{"name": "v1", "served": false, "storage": false, "schema": {"openAPIV3Schema": schema}}]}});
        leave_out("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition", &mut definition);
        let version = json!({"name": "v1", "served": false, "storage": false, "schema": {"openAPIV3Schema": {"properties": {
            "a": {"default": {"x": [], "y": 0}, "additionalProperties": {}},
        }}}});
        assert_eq!(definition["spec"]["versions"], json!([version]));
    }

    #[test]
    fn what_has_another_type_than_the_schema_says_is_left_to_who_checks_it() {
        let spec = json!({"hostNetwork": "", "volumes": {}, "nodeSelector": []});
        assert_eq!(left("core.v1.PodSpec", spec.clone()), spec);
    }
}
