//! What is known of the variables of policies besides the objects.

use std::sync::LazyLock;

use serde_json::json;

use crate::schema::{Structural, Type};

/// `request` (`admission.k8s.io/v1.AdmissionRequest`, less the objects).
pub(super) fn request() -> &'static Structural {
    static REQUEST: LazyLock<Structural> = LazyLock::new(|| {
        let text = json!({"type": "string"});
        let texts = |names: &[&str]| {
            let properties = names.iter().map(|name| ((*name).to_owned(), text.clone())).collect::<serde_json::Map<_, _>>();
            json!({"type": "object", "properties": properties})
        };
        let (kind, resource) = (texts(&["group", "version", "kind"]), texts(&["group", "version", "resource"]));
        let list = json!({"type": "array", "items": text});
        let user = json!({"type": "object", "properties": {"username": text, "uid": text, "groups": list,
            "extra": {"type": "object", "additionalProperties": list}}});
        Structural::parse(&json!({"type": "object", "properties": {
            "kind": kind, "resource": resource, "subResource": text, "requestKind": kind, "requestResource": resource,
            "requestSubResource": text, "name": text, "namespace": text, "operation": text, "userInfo": user,
            "dryRun": {"type": "boolean"}, "options": {"x-kubernetes-preserve-unknown-fields": true},
        }}))
    });
    &REQUEST
}

/// `variables`, before there are any.
pub(super) fn variables() -> Structural {
    Structural { kind: Type::Object, ..Structural::default() }
}
