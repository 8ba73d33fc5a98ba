//! `metadata` as every kind has it (`apimachinery/pkg/api/validation/objectmeta.go`).

use serde_json::{Map, Value};

use super::{
    NameRule, complaints, forbidden, immutable, invalid, invalid_text, label_key, label_value, qualified_name, required, too_long,
};
use crate::Scope;
use crate::status::Cause;

const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Every wrong field of an object's metadata. The name is checked by `rule`; `generateName` is checked as a prefix.
pub fn validate_metadata(object: &Value, scope: Scope, rule: NameRule) -> Vec<Cause> {
    static EMPTY: Value = Value::Null;
    let metadata = object.get("metadata").unwrap_or(&EMPTY);
    let text = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or("");
    let mut causes = Vec::new();
    let generate = text("generateName");
    if !generate.is_empty() {
        // What the server appends makes a trailing dash right.
        let stem = generate.trim_end_matches('-');
        causes.extend(complaints("metadata.generateName", generate, rule.check(if stem.is_empty() { "-" } else { stem })));
    }
    match text("name") {
        "" if generate.is_empty() => causes.push(required("metadata.name", "name or generateName is required")),
        "" => causes.push(required("metadata.name", "")),
        name => causes.extend(complaints("metadata.name", name, rule.check(name))),
    }
    match (scope, text("namespace")) {
        (Scope::Namespaced, "") => causes.push(required("metadata.namespace", "")),
        (Scope::Namespaced, namespace) => {
            causes.extend(complaints("metadata.namespace", namespace, NameRule::Dns1123Label.check(namespace)));
        }
        (Scope::Cluster, "") => {}
        (Scope::Cluster, _) => causes.push(forbidden("metadata.namespace", "not allowed on this type")),
    }
    causes.extend(validate_labels("metadata.labels", metadata.get("labels")));
    causes.extend(annotations(metadata.get("annotations")));
    causes.extend(owner_references(metadata.get("ownerReferences")));
    for (index, finalizer) in array(metadata.get("finalizers")).iter().enumerate() {
        causes.extend(finalizer_name(index, finalizer.as_str().unwrap_or("")));
    }
    causes
}

/// Every metadata field whose change is refused. The pipeline sets the server's own fields before it asks.
pub fn validate_metadata_update(object: &Value, old: &Value) -> Vec<Cause> {
    let (metadata, before) = (object.get("metadata").unwrap_or(&Value::Null), old.get("metadata").unwrap_or(&Value::Null));
    let mut causes: Vec<Cause> =
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
            .iter()
            .filter_map(|field| immutable(format_args!("metadata.{field}"), metadata.get(field), before.get(field)))
            .collect();
    let generation = |metadata: &Value| metadata.get("generation").and_then(Value::as_i64).unwrap_or(0);
    if generation(metadata) < generation(before) {
        causes.push(invalid("metadata.generation", &generation(metadata).into(), "must not be decremented"));
    }
    if before.get("deletionTimestamp").is_some() {
        let before = array(before.get("finalizers"));
        let mut added: Vec<String> = array(metadata.get("finalizers"))
            .iter()
            .filter(|finalizer| !before.contains(finalizer))
            .map(Value::to_string)
            .collect();
        if !added.is_empty() {
            added.sort_unstable();
            causes.push(forbidden(
                "metadata.finalizers",
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.join(", ")
                ),
            ));
        }
    }
    causes
}

/// Keys and values of a map of labels.
pub fn validate_labels(field: &str, labels: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in entries(labels) {
        causes.extend(complaints(field, key, label_key(key)));
        let value = value.as_str().unwrap_or("");
        causes.extend(complaints(field, value, label_value(value)));
    }
    causes
}

fn annotations(annotations: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut size = 0;
    for (key, value) in entries(annotations) {
        // Annotation keys may have upper case prefixes.
        causes.extend(complaints("metadata.annotations", key, qualified_name(&key.to_lowercase())));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        causes.push(too_long("metadata.annotations", MAX_ANNOTATIONS));
    }
    causes
}

fn owner_references(owners: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut controllers = Vec::new();
    for (index, owner) in array(owners).iter().enumerate() {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or("");
        let field = |name: &str| format!("metadata.ownerReferences[{index}].{name}");
        if text("apiVersion").is_empty() {
            causes.push(invalid_text(field("apiVersion"), "", "version must not be empty"));
        }
        for (name, complaint) in [("kind", "kind"), ("name", "name"), ("uid", "uid")] {
            if text(name).is_empty() {
                causes.push(invalid_text(field(name), "", format!("{complaint} must not be empty")));
            }
        }
        if text("kind") == "Event" && matches!(text("apiVersion"), "v1" | "events.k8s.io/v1") {
            let owner = format!("{}, Kind=Event", text("apiVersion"));
            causes.push(invalid_text("metadata.ownerReferences", &owner, format!("{owner} is disallowed from being an owner")));
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            controllers.push(text("name").to_owned());
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        causes.push(invalid(
            "metadata.ownerReferences",
            owners.unwrap_or(&Value::Null),
            format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"),
        ));
    }
    causes
}

fn finalizer_name(index: usize, name: &str) -> Vec<Cause> {
    let field = format!("metadata.finalizers[{index}]");
    let mut causes: Vec<Cause> = complaints(&field, name, qualified_name(name)).collect();
    let standard = matches!(name, "kubernetes" | "orphan" | "foregroundDeletion");
    if causes.is_empty() && !name.contains('/') && !standard {
        causes.push(invalid_text(&field, name, "name is neither a standard finalizer name nor is it fully qualified"));
    }
    causes
}

fn array(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(causes: &[Cause]) -> Vec<&str> {
        causes.iter().map(|cause| cause.field.as_str()).collect()
    }

    #[test]
    fn every_wrong_metadata_field_is_named() {
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": true});
        let object = json!({"metadata": {
            "name": "Bad", "labels": {"ok": "no good", "a b": "x"}, "annotations": {"/x": "y", "Example.com/Y": "fine"},
            "ownerReferences": [owner, owner, {"kind": "Pod", "name": "b", "uid": "2", "apiVersion": ""}],
            "finalizers": ["example.com/a", "nonsense"],
        }});
        let causes = validate_metadata(&object, Scope::Namespaced, NameRule::default());
        assert_eq!(
            fields(&causes),
            [
                "metadata.name",
                "metadata.namespace",
                "metadata.labels",
                "metadata.labels",
                "metadata.annotations",
                "metadata.ownerReferences[2].apiVersion",
                "metadata.ownerReferences",
                "metadata.finalizers[1]",
            ]
        );
        assert!(
            causes[0].message.starts_with("Invalid value: \"Bad\": a lowercase RFC 1123 subdomain must consist"),
            "{causes:?}"
        );
    }

    #[test]
    fn a_cluster_scoped_object_has_no_namespace() {
        let object = json!({"metadata": {"name": "a", "namespace": "b"}});
        let causes = validate_metadata(&object, Scope::Cluster, NameRule::default());
        assert_eq!(causes, [forbidden("metadata.namespace", "not allowed on this type")]);
    }

    #[test]
    fn the_identity_of_an_object_cannot_change_and_a_dying_one_gains_no_finalizer() {
        let old =
            json!({"metadata": {"name": "a", "uid": "1", "generation": 2, "deletionTimestamp": "x", "finalizers": ["a/b"]}});
        let new = json!({"metadata": {"name": "a", "uid": "2", "generation": 1, "deletionTimestamp": "x", "finalizers": ["a/b", "a/c"]}});
        let causes = validate_metadata_update(&new, &old);
        assert_eq!(fields(&causes), ["metadata.uid", "metadata.generation", "metadata.finalizers"]);
        assert_eq!(causes[0].message, "Invalid value: \"2\": field is immutable");
        assert!(causes[2].message.ends_with("found new finalizers []string{\"a/c\"}"), "{}", causes[2].message);
        assert!(validate_metadata_update(&old, &old).is_empty());
    }
}
