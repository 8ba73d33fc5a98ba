//! DefaultStorageClass: a claim that says nothing of a class gets the default one. One that names none (`""`) gets none.

use async_trait::async_trait;
use mizzen_api::Status;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};

pub(super) struct DefaultStorageClass;

/// Annotations that mark the default class, and name a claim's class.
const DEFAULT: [&str; 2] = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

#[async_trait]
impl Plugin for DefaultStorageClass {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        let creates = attributes.operation == Operation::Create && attributes.subresource().is_empty();
        if !creates || (attributes.group(), attributes.resource()) != ("", "persistentvolumeclaims") || names_class(object) {
            return Ok(());
        }
        let class = default_class(&attributes.list("storage.k8s.io", "storageclasses", "")?);
        if let (Some(class), Some(spec)) = (class, object.get_mut("spec").and_then(Value::as_object_mut)) {
            spec.insert("storageClassName".to_owned(), class.into());
        }
        Ok(())
    }
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

fn names_class(claim: &Value) -> bool {
    claim.pointer("/spec/storageClassName").is_some_and(|class| !class.is_null()) || annotation(claim, CLASS).is_some()
}

/// Of several defaults the newest, and of those that are equally new the first by name.
fn default_class(classes: &[Value]) -> Option<String> {
    let is_default = |class: &&Value| DEFAULT.iter().any(|key| annotation(class, key) == Some("true"));
    let text = |class: &Value, pointer: &str| class.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let made = |class: &Value| text(class, "/metadata/creationTimestamp");
    let name = |class: &Value| text(class, "/metadata/name");
    let newest = classes.iter().filter(is_default).max_by(|a, b| made(a).cmp(&made(b)).then(name(b).cmp(&name(a))));
    newest.map(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_default_counts_and_an_empty_name_is_a_name() {
        let class = |name: &str, made: &str, default: &str| json!({"metadata": {"name": name, "creationTimestamp": made, "annotations": {DEFAULT[0]: default}}});
        let classes = [class("b", "2026-01-02", "true"), class("a", "2026-01-02", "true"), class("c", "2026-01-03", "false")];
        assert_eq!(default_class(&classes).as_deref(), Some("a"));
        assert_eq!(default_class(&classes[2..]), None);
        assert!(names_class(&json!({"spec": {"storageClassName": ""}})));
        assert!(!names_class(&json!({"spec": {}})));
    }
}
