//! When two pod templates are the same.

use serde_json::{Map, Value};

pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// The template in a form in which writers agree: without the hash label, nulls and empty containers (clients write
/// `creationTimestamp: null` or `resources: {}` or leave them out).
pub(crate) fn normalized(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    without_empty(template).unwrap_or_else(|| Value::Object(Map::new()))
}

fn without_empty(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(map) => {
            let map: Map<_, _> = map.into_iter().filter_map(|(key, value)| Some((key, without_empty(value)?))).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        // Elements keep their places: an empty one still counts.
        Value::Array(items) => (!items.is_empty()).then(|| {
            Value::Array(items.into_iter().map(|item| without_empty(item).unwrap_or_else(|| Value::Object(Map::new()))).collect())
        }),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_read_back_through_a_typed_client_is_the_same() {
        let stored = json!({"metadata": {"labels": {"app": "web", HASH_LABEL: "abc"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let from_client = json!({"metadata": {"creationTimestamp": null, "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}], "volumes": []}});
        assert_eq!(normalized(&stored), normalized(&from_client));
        let other = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "j"}]}});
        assert_ne!(normalized(&stored), normalized(&other));
    }
}
