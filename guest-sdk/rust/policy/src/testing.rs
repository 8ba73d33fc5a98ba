//! Requests for unit tests: they run natively, with `cargo test`.
//!
//! ```
//! use mizzen_policy_sdk::{json, testing};
//!
//! let request = testing::create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}));
//! assert_eq!(request.name(), "web");
//! ```

use serde_json::Value;

use crate::bindings::mizzen::policy::types;
use crate::{GroupVersionKind, GroupVersionResource, Operation, Request, User};

/// The creation of an object.
pub fn create(object: Value) -> Request {
    request(Operation::Create, Some(object), None)
}

/// The change of an object from `old` to `new`.
pub fn update(old: Value, new: Value) -> Request {
    request(Operation::Update, Some(new), Some(old))
}

/// The deletion of an object.
pub fn delete(object: Value) -> Request {
    request(Operation::Delete, None, Some(object))
}

/// What [`crate::context`] finds in this test.
#[cfg(not(target_family = "wasm"))]
pub fn context(objects: Vec<Value>) {
    crate::context::native::OBJECTS.set(objects);
}

fn request(operation: Operation, object: Option<Value>, old_object: Option<Value>) -> Request {
    let any = object.as_ref().or(old_object.as_ref());
    let text = |pointer: &str| any.and_then(|object| object.pointer(pointer)?.as_str()).unwrap_or_default().to_owned();
    let api_version = text("/apiVersion");
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
    let kind = text("/kind");
    Request::new(types::Request {
        uid: "00000000-0000-4000-8000-000000000000".to_owned(),
        resource: GroupVersionResource {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: format!("{}s", kind.to_lowercase()),
        },
        kind: GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind },
        subresource: None,
        name: text("/metadata/name"),
        namespace: text("/metadata/namespace"),
        operation,
        user: User { name: "tester".to_owned(), uid: String::new(), groups: Vec::new(), extra: Vec::new() },
        dry_run: false,
        object: object.map(|object| object.to_string()),
        old_object: old_object.map(|object| object.to_string()),
        options: None,
    })
}
