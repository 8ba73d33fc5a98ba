//! The metadata that is the same for every kind: what the server stamps and what a client may not change.

use mizzen_api::Pointed as _;
use mizzen_api::{ResourceDescriptor, Scope, Status};
use serde_json::{Map, Value, json};

use super::target::Target;
use crate::{suffix, uid};

/// The `metadata` of a document, made if it is missing.
///
/// # Errors
/// `BadRequest` when the document or its metadata is not an object.
pub(super) fn of(object: &mut Value) -> Result<&mut Map<String, Value>, Status> {
    let document = object.as_object_mut().ok_or_else(|| Status::bad_request("the object provided is not a JSON object"))?;
    if !document.contains_key("metadata") {
        document.insert("metadata".to_owned(), json!({}));
    }
    let metadata = document.get_mut("metadata").and_then(Value::as_object_mut);
    metadata.ok_or_else(|| Status::bad_request("metadata must be an object"))
}

pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// Checks `apiVersion`, `kind`, namespace and name against the path, and fills in what the client left out.
///
/// # Errors
/// `BadRequest` when they contradict the path.
pub(super) fn fit_to_target(object: &mut Value, target: &Target) -> Result<(), Status> {
    let document = object.as_object_mut().ok_or_else(|| Status::bad_request("the object provided is not a JSON object"))?;
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    let is_right =
        [("apiVersion", target.is_api_version(text("apiVersion"))), ("kind", *text("kind") == *target.descriptor.kind)];
    // Of a custom kind there is no type that would say what a document is.
    let is_custom = target.descriptor.custom.is_some();
    if is_custom && text("kind").is_empty() {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing",
            target.descriptor.kind
        )));
    }
    for (field, _) in is_right.into_iter().filter(|(_, is_right)| !is_right) {
        let (what, expected) = match field {
            "kind" => ("kind", target.descriptor.kind.to_string()),
            _ => ("API version", target.api_version()),
        };
        match document.get(field).and_then(Value::as_str) {
            None | Some("") if !is_custom => {
                document.insert(field.to_owned(), Value::String(expected));
            }
            given => {
                let given = given.unwrap_or_default();
                return Err(Status::bad_request(format!(
                    "the {what} in the data ({given}) does not match the expected {what} ({expected})"
                )));
            }
        }
    }
    let metadata = of(object)?;
    match target.descriptor.scope {
        Scope::Cluster => {
            metadata.remove("namespace");
        }
        Scope::Namespaced => match metadata.get("namespace").and_then(Value::as_str) {
            None | Some("") => {
                metadata.insert("namespace".to_owned(), Value::String(target.namespace.clone()));
            }
            Some(given) if given == target.namespace => {}
            Some(given) => {
                return Err(Status::bad_request(format!(
                    "the namespace of the provided object does not match the namespace sent on the request ({given} != {})",
                    target.namespace
                )));
            }
        },
    }
    if !target.name.is_empty() {
        match metadata.get("name").and_then(Value::as_str) {
            None | Some("") => {
                metadata.insert("name".to_owned(), Value::String(target.name.clone()));
            }
            Some(given) if given == target.name => {}
            Some(given) => {
                return Err(Status::bad_request(format!(
                    "the name of the object ({given}) does not match the name on the URL ({})",
                    target.name
                )));
            }
        }
    }
    Ok(())
}

/// Stamps a new object: name, uid, creation time, generation.
///
/// # Errors
/// `BadRequest` when the client sets what only a stored object has.
pub(super) fn stamp_new(object: &mut Value, descriptor: &ResourceDescriptor, now: jiff::Timestamp) -> Result<(), Status> {
    let has_generation = descriptor.strategy.has_generation(object);
    let metadata = of(object)?;
    if metadata.get("resourceVersion").and_then(Value::as_str).is_some_and(|version| !version.is_empty()) {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    for field in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        metadata.remove(field);
    }
    let named = metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if !named && let Some(base) = metadata.get("generateName").and_then(Value::as_str).filter(|base| !base.is_empty()) {
        let name = generate_name(base);
        metadata.insert("name".to_owned(), Value::String(name));
    }
    metadata.insert("uid".to_owned(), Value::String(uid::new()));
    metadata.insert("creationTimestamp".to_owned(), Value::String(seconds(now)));
    if has_generation {
        metadata.insert("generation".to_owned(), json!(1));
    }
    Ok(())
}

/// The base, cut so that the whole fits a label, and a random end.
fn generate_name(base: &str) -> String {
    const MAX_BASE: usize = 63 - suffix::LENGTH;
    let mut end = base.len().min(MAX_BASE);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &base[..end], suffix::random())
}

/// Drops what Kubernetes drops when it decodes metadata: empty maps and lists, and nulls.
pub(super) fn drop_empty(object: &mut Value) -> Result<(), Status> {
    of(object)?.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    });
    Ok(())
}

/// A time as `metav1.Time` writes it.
pub(super) fn seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Carries over what a client may not change, so that leaving it out is no change.
pub(super) fn keep_on_update(object: &mut Value, old: &Value) -> Result<(), Status> {
    let metadata = of(object)?;
    let old = old.get("metadata").and_then(Value::as_object);
    metadata.remove("selfLink");
    for field in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName"] {
        match old.and_then(|old| old.get(field)) {
            Some(value) if metadata.get(field) == Some(value) => None,
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    for field in ["uid", "name", "namespace"] {
        let missing = metadata.get(field).and_then(Value::as_str).is_none_or(str::is_empty);
        if missing && let Some(value) = old.and_then(|old| old.get(field)) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    Ok(())
}

/// Groups, and resources of others, whose status is all that is written through it; the other built-in kinds take labels and
/// annotations as well, as in Kubernetes.
const STATUS_ALONE: [(&str, &str); 6] = [
    ("admissionregistration.k8s.io", ""),
    ("apiextensions.k8s.io", ""),
    ("apiregistration.k8s.io", ""),
    ("flowcontrol.apiserver.k8s.io", ""),
    ("resource.k8s.io", ""),
    ("storage.k8s.io", "volumeattachments"),
];

/// The one kind whose status takes annotations and no labels, as in Kubernetes.
const STATUS_WITHOUT_LABELS: (&str, &str) = ("apps", "deployments");

/// Keeps all metadata through a subresource that is a part of the object, save who owns which field and, with what says
/// how the object stands, labels and annotations. The uid stays as it was sent, so that another one is refused.
pub(super) fn keep_through_subresource(object: &mut Value, old: &Value, target: &Target) -> Result<(), Status> {
    let descriptor = &target.descriptor;
    let is_alone = descriptor.custom.is_some()
        || STATUS_ALONE
            .iter()
            .any(|(group, resource)| *descriptor.group == **group && (resource.is_empty() || *descriptor.resource == **resource));
    let sent = of(object)?;
    let kept = old.get("metadata").and_then(Value::as_object);
    let own: &[&str] = match &*target.subresource {
        "status" if (&*descriptor.group, &*descriptor.resource) == STATUS_WITHOUT_LABELS => {
            &["managedFields", "uid", "annotations"]
        }
        "status" | "approval" | "finalize" if !is_alone => &["managedFields", "uid", "labels", "annotations"],
        _ => &["managedFields", "uid"],
    };
    let is_own = |field: &str, value: &Value| own.contains(&field) && !value.is_null();
    sent.retain(|field, value| is_own(field, value) || kept.is_some_and(|kept| kept.contains_key(field)));
    for (field, value) in kept.into_iter().flatten() {
        if sent.get(field).is_none_or(|sent| sent != value && !is_own(field, sent)) {
            sent.insert(field.clone(), value.clone());
        }
    }
    Ok(())
}

/// Counts a new generation, where the kind has one.
pub(super) fn bump_generation(object: &mut Value) {
    if let Some(generation) = object.pointer_mut("/metadata/generation")
        && let Some(number) = generation.as_i64()
    {
        *generation = json!(number + 1);
    }
}

pub(super) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object.at("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
