//! JSON patch (RFC 6902), one operation at a time so that what it may grow to is bounded.

use ::json_patch::{AddOperation, PatchErrorKind, PatchOperation};
use serde_json::Value;

use crate::{MAX_DEPTH, PatchError, bounds};

/// As many operations as Kubernetes allows.
pub const MAX_OPERATIONS: usize = 10_000;

/// How many bytes all `copy` operations of a patch may add: the size of the largest request.
pub const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// How many values all operations of a patch may move about: those in what is moved, and those of a list that make room. That
/// is about a quarter of a second of work, where half a megabyte of patch could ask for ten seconds of it.
pub const MAX_MOVED_VALUES: usize = 100_000_000;

/// Applies `patch`, a list of operations; null is none.
///
/// # Errors
/// When the patch is malformed, too large, or an operation does not fit; the document is then half patched.
pub fn apply(doc: &mut Value, patch: &Value) -> Result<(), PatchError> {
    bounds::check_depth(patch)?;
    // Go's decoder takes null for a list without items, and so do webhooks that have nothing to change (Knative's).
    if patch.is_null() {
        return Ok(());
    }
    let Value::Array(list) = patch else {
        return Err(PatchError::Decode { reason: "a JSON patch is a list of operations".to_owned() });
    };
    if list.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations { allowed: MAX_OPERATIONS, got: list.len() });
    }
    let operations: ::json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|error| PatchError::Decode { reason: error.to_string() })?;
    let mut growth = Growth { depth: bounds::depth(doc), copied: 0, moved: 0 };
    for operation in &operations.0 {
        growth.admit(doc, operation)?;
        if is_test_for_absence(doc, operation) {
            continue;
        }
        let added = adds_instead(doc, operation);
        let operation = added.as_ref().unwrap_or(operation);
        ::json_patch::patch_unsafe(doc, std::slice::from_ref(operation)).map_err(|error| refusal(operation, &error.kind))?;
    }
    Ok(())
}

/// Kubernetes lets a test for null pass on a member that is not there (RFC 6902 would not), and clients count on it: kube-rs
/// adds a first finalizer so.
fn is_test_for_absence(doc: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    test.value.is_null() && lacks_member(doc, test.path.as_str())
}

/// Kubernetes adds a member that is to be replaced and is not there (RFC 6902 would not), and clients count on it: Tekton marks
/// pods as ready so, by an annotation that they do not have.
fn adds_instead(doc: &Value, operation: &PatchOperation) -> Option<PatchOperation> {
    let PatchOperation::Replace(replace) = operation else { return None };
    lacks_member(doc, replace.path.as_str())
        .then(|| PatchOperation::Add(AddOperation { path: replace.path.clone(), value: replace.value.clone() }))
}

/// Whether the object is there and the member at `path` is not.
fn lacks_member(doc: &Value, path: &str) -> bool {
    let parent = path.rsplit_once('/').and_then(|(parent, _)| doc.pointer(parent));
    parent.is_some_and(Value::is_object) && doc.pointer(path).is_none()
}

/// Upper bounds of what the document has grown to, kept without walking it after every operation.
struct Growth {
    depth: usize,
    copied: usize,
    moved: usize,
}

impl Growth {
    fn admit(&mut self, doc: &Value, operation: &PatchOperation) -> Result<(), PatchError> {
        let (path, depth) = match operation {
            PatchOperation::Add(add) => (&add.path, bounds::depth(&add.value)),
            PatchOperation::Replace(replace) => (&replace.path, bounds::depth(&replace.value)),
            PatchOperation::Copy(copy) => {
                let source = doc.pointer(copy.from.as_str());
                self.copied += source.map_or(0, bounds::size);
                if self.copied > MAX_COPIED_BYTES {
                    return Err(PatchError::CopiesTooMuch { allowed: MAX_COPIED_BYTES, got: self.copied });
                }
                (&copy.path, source.map_or(0, bounds::depth))
            }
            PatchOperation::Move(moved) => {
                let (depth, count) = doc.pointer(moved.from.as_str()).map_or((0, 0), bounds::measure);
                self.moves(count + listed_at(doc, moved.from.as_str()))?;
                (&moved.path, depth)
            }
            PatchOperation::Remove(remove) => return self.moves(listed_at(doc, remove.path.as_str())),
            PatchOperation::Test(_) => return Ok(()),
        };
        if !matches!(operation, PatchOperation::Replace(_)) {
            self.moves(listed_at(doc, path.as_str()))?;
        }
        let levels = path.as_str().matches('/').count();
        self.depth = self.depth.max(levels + depth);
        if self.depth > MAX_DEPTH { Err(PatchError::TooDeep { depth: self.depth }) } else { Ok(()) }
    }

    fn moves(&mut self, count: usize) -> Result<(), PatchError> {
        self.moved += count;
        match self.moved > MAX_MOVED_VALUES {
            true => Err(PatchError::MovesTooMuch { allowed: MAX_MOVED_VALUES, got: self.moved }),
            false => Ok(()),
        }
    }
}

/// How many items a list has in which there is room to be made or to be closed at `path`.
fn listed_at(doc: &Value, path: &str) -> usize {
    let (parent, last) = path.rsplit_once('/').unwrap_or_default();
    if last == "-" { 0 } else { doc.pointer(parent).and_then(Value::as_array).map_or(0, Vec::len) }
}

fn refusal(operation: &PatchOperation, kind: &PatchErrorKind) -> PatchError {
    let path = operation.path().as_str();
    let reason = match (operation, kind) {
        (PatchOperation::Test(_), PatchErrorKind::TestFailed) => format!("testing value {path} failed: test failed"),
        (PatchOperation::Test(_), _) => format!("error in test for path: '{path}': missing value"),
        (PatchOperation::Add(_), PatchErrorKind::InvalidPointer) => {
            format!("add operation does not apply: doc is missing path: \"{path}\": missing value")
        }
        (PatchOperation::Remove(_), PatchErrorKind::InvalidPointer) => {
            format!("remove operation does not apply: doc is missing path: \"{path}\": missing value")
        }
        (PatchOperation::Replace(_), PatchErrorKind::InvalidPointer) => {
            format!("replace operation does not apply: doc is missing path: {path}: missing value")
        }
        (PatchOperation::Move(moved), PatchErrorKind::InvalidFromPointer) => {
            format!("jsonpatch move operation does not apply: doc is missing from path: {}: missing value", moved.from)
        }
        (PatchOperation::Copy(copied), PatchErrorKind::InvalidFromPointer) => {
            format!("jsonpatch copy operation does not apply: doc is missing from path: {}: missing value", copied.from)
        }
        (_, kind) => format!("jsonpatch operation does not apply at path {path}: {kind}"),
    };
    PatchError::DoesNotApply { reason }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_operation_does_what_the_rfc_says() {
        let mut doc = json!({"spec": {"replicas": 1, "list": [1, 2]}, "metadata": {"labels": {"a/b": "x"}}});
        let patch = json!([
            {"op": "test", "path": "/spec/replicas", "value": 1},
            {"op": "replace", "path": "/spec/replicas", "value": 3},
            {"op": "add", "path": "/spec/list/-", "value": 3},
            {"op": "add", "path": "/spec/list/0", "value": 0},
            {"op": "remove", "path": "/metadata/labels/a~1b"},
            {"op": "copy", "from": "/spec/list", "path": "/spec/other"},
            {"op": "move", "from": "/spec/list", "path": "/moved"},
        ]);
        apply(&mut doc, &patch).unwrap();
        assert_eq!(
            doc,
            json!({"spec": {"replicas": 3, "other": [0, 1, 2, 3]}, "moved": [0, 1, 2, 3], "metadata": {"labels": {}}})
        );
    }

    #[test]
    fn a_member_that_is_replaced_and_is_not_there_is_added_to_a_present_object() {
        let mut doc = json!({"metadata": {"annotations": {"a": "b"}}, "list": [1]});
        let replace = |path: &str| json!([{"op": "replace", "path": path, "value": "READY"}]);
        apply(&mut doc, &replace("/metadata/annotations/tekton.dev~1ready")).unwrap();
        assert_eq!(doc["metadata"]["annotations"], json!({"a": "b", "tekton.dev/ready": "READY"}));
        for path in ["/metadata/labels/x", "/list/1"] {
            assert!(apply(&mut doc, &replace(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn null_changes_nothing() {
        let mut doc = json!({"a": 1});
        apply(&mut doc, &Value::Null).unwrap();
        assert_eq!(doc, json!({"a": 1}));
        assert!(apply(&mut doc, &json!({})).is_err());
    }

    #[test]
    fn what_does_not_fit_is_unprocessable_and_named() {
        let cases = [
            (json!([{"op": "remove", "path": "/x"}]), "remove operation does not apply"),
            (json!([{"op": "replace", "path": "/x/y", "value": 1}]), "replace operation does not apply"),
            (json!([{"op": "add", "path": "/x/y", "value": 1}]), "\"/x/y\": missing value"),
            (json!([{"op": "test", "path": "/a", "value": 2}]), "testing value /a failed"),
            (json!([{"op": "move", "from": "/x", "path": "/y"}]), "missing from path: /x"),
            (json!([{"op": "copy", "from": "/x", "path": "/y"}]), "missing from path: /x"),
        ];
        for (patch, expected) in cases {
            let error = apply(&mut json!({"a": 1}), &patch).unwrap_err();
            assert!(error.to_string().contains(expected), "{patch}: {error}");
            assert_eq!(error.to_status().code, 422);
        }
    }

    #[test]
    fn a_test_for_null_passes_on_an_absent_member_of_a_present_object() {
        let test = |path: &str, value: Value| {
            apply(&mut json!({"metadata": {"l": []}}), &json!([{"op": "test", "path": path, "value": value}]))
        };
        test("/metadata/finalizers", Value::Null).unwrap();
        for (path, value) in [
            ("/metadata/finalizers", json!([])),
            ("/metadata/l", Value::Null),
            ("/spec/x", Value::Null),
            ("/metadata/l/0", Value::Null),
        ] {
            assert_eq!(test(path, value).unwrap_err().to_status().code, 422, "{path}");
        }
    }

    #[test]
    fn a_malformed_patch_is_a_bad_request() {
        for patch in [json!({}), json!([{"op": "jump", "path": "/a"}]), json!([{"op": "add", "path": "a"}])] {
            assert_eq!(apply(&mut json!({}), &patch).unwrap_err().to_status().code, 400, "{patch}");
        }
    }

    #[test]
    fn copies_cannot_grow_without_bound() {
        let mut doc = json!({"a": "x".repeat(1024)});
        let patch: Vec<_> = (0..40).map(|n| json!({"op": "copy", "from": "", "path": format!("/c{n}")})).collect();
        assert!(matches!(
            apply(&mut doc, &Value::Array(patch)),
            Err(PatchError::CopiesTooMuch { .. } | PatchError::TooDeep { .. })
        ));
        let patch = Value::Array(vec![json!({"op": "test", "path": "/a", "value": 1}); MAX_OPERATIONS + 1]);
        assert!(matches!(apply(&mut doc, &patch), Err(PatchError::TooManyOperations { got: 10_001, .. })));
    }

    #[test]
    fn moves_cannot_take_work_without_bound() {
        let of = |operation: Value| serde_json::from_value::<PatchOperation>(operation).unwrap();
        let mut doc = json!({"a": {"b": vec![0; 1000]}, "list": vec![0; 1000]});
        for (operation, takes) in [
            (json!({"op": "move", "from": "/a", "path": "/c"}), 1002),
            (json!({"op": "move", "from": "/list/0", "path": "/list/7"}), 2001),
            (json!({"op": "add", "path": "/list/0", "value": 1}), 1000),
            (json!({"op": "copy", "from": "/list/0", "path": "/list/0"}), 1000),
            (json!({"op": "remove", "path": "/list/0"}), 1000),
            (json!({"op": "add", "path": "/list/-", "value": 1}), 0),
            (json!({"op": "replace", "path": "/list/0", "value": 1}), 0),
            (json!({"op": "test", "path": "/list/0", "value": 1}), 0),
        ] {
            let mut growth = Growth { depth: 3, copied: 0, moved: MAX_MOVED_VALUES - takes };
            growth.admit(&doc, &of(operation.clone())).unwrap();
            assert_eq!(growth.moved, MAX_MOVED_VALUES, "{operation}");
        }
        doc = json!({"list": vec![0; 100_000]});
        let patch = Value::Array(vec![json!({"op": "add", "path": "/list/0", "value": 1}); 1001]);
        assert_eq!(apply(&mut doc, &patch).unwrap_err().to_status().code, 413);
    }

    #[test]
    fn moves_cannot_nest_without_bound() {
        let mut doc = json!({"a": {}, "b": {}});
        let mut patch = Vec::new();
        for _ in 0..1000 {
            patch.push(json!({"op": "add", "path": "/b", "value": {}}));
            patch.push(json!({"op": "move", "from": "/a", "path": "/b/x"}));
            patch.push(json!({"op": "move", "from": "/b", "path": "/a"}));
        }
        assert!(matches!(apply(&mut doc, &Value::Array(patch)), Err(PatchError::TooDeep { .. })));
    }
}
