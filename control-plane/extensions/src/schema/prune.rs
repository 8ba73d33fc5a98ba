//! Pruning: fields that the schema does not specify are dropped, and their paths told.

use serde_json::{Map, Value};

use super::Structural;

/// What every object at the root of a resource has, whatever its schema says.
const OBJECT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops from a whole document what its schema does not specify. Returns the paths of what was dropped, such as
/// `spec.containers[0].imge`, in document order, and not all where there are very many. `metadata` is left to those who know its type.
pub fn prune(schema: &Structural, document: &mut Value) -> Vec<String> {
    let mut walk = Walk { path: String::new(), pruned: Vec::new() };
    walk.value(schema, document, true);
    walk.pruned
}

struct Walk {
    path: String,
    pruned: Vec<String>,
}

impl Walk {
    fn value(&mut self, schema: &Structural, value: &mut Value, is_resource: bool) {
        match value {
            Value::Object(object) => self.object(schema, object, is_resource),
            Value::Array(items) => match &schema.items {
                Some(schema) => {
                    for (index, item) in items.iter_mut().enumerate() {
                        let length = self.path.len();
                        self.path.push_str(&format!("[{index}]"));
                        self.value(schema, item, schema.embedded);
                        self.path.truncate(length);
                    }
                }
                // What is inside an array of nothing in particular is as unknown as the array.
                None if schema.preserve_unknown => {}
                None => {
                    let unknown = Structural::default();
                    items.iter_mut().for_each(|item| self.value(&unknown, item, false));
                }
            },
            _ => {}
        }
    }

    fn object(&mut self, schema: &Structural, object: &mut Map<String, Value>, is_resource: bool) {
        let unknown: Vec<String> = object
            .iter_mut()
            .filter_map(|(key, value)| {
                if is_resource && OBJECT_FIELDS.contains(&key.as_str()) {
                    return None;
                }
                match schema.field(key) {
                    Some(schema) => {
                        let length = self.enter(key);
                        self.value(schema, value, schema.embedded);
                        self.path.truncate(length);
                        None
                    }
                    None if schema.preserve_unknown => None,
                    None => Some(key.clone()),
                }
            })
            .collect();
        for key in unknown {
            object.remove(&key);
            let length = self.enter(&key);
            mizzen_api::schema::note(&mut self.pruned, &self.path);
            self.path.truncate(length);
        }
    }

    fn enter(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_specified_goes_and_is_named() {
        let schema = Structural::parse(&json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": {"type": "integer"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "object", "properties": {"x": {"type": "string"}}}}},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
            "port": {"x-kubernetes-int-or-string": true},
        }}}}));
        let mut document = json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a"}, "extra": 1, "spec": {
            "list": [{"a": "x", "c": {}}], "map": {"any": {"b": 1, "c": 2}}, "port": "http",
            "free": {"stays": {"deep": [1]}, "known": {"x": "y", "z": 1}},
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"gone": true}, "status": {}}}});
        let pruned = prune(&schema, &mut document);
        assert_eq!(
            pruned,
            ["spec.free.known.z", "spec.list[0].c", "spec.map.any.c", "spec.pod.spec.gone", "spec.pod.status", "extra"]
        );
        assert_eq!(
            document,
            json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a"}, "spec": {
                "list": [{"a": "x"}], "map": {"any": {"b": 1}}, "port": "http",
                "free": {"stays": {"deep": [1]}, "known": {"x": "y"}},
                "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}}})
        );
        assert!(prune(&schema, &mut document).is_empty(), "pruning twice changes nothing");
    }
}
