//! Tables and metadata-only views of objects (API concepts, "Resources as Tables" and "Metadata-only").

use std::borrow::Cow;

use mizzen_api::descriptor::Context;
use mizzen_api::{Object, ResourceDescriptor, Status};
use serde_json::{Value, json};

/// What a row carries besides its cells (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    None,
    Metadata,
    Object,
}

impl IncludeObject {
    /// # Errors
    /// `BadRequest` for any other word.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Status> {
        match text {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}"))),
        }
    }
}

/// A table of objects; `metadata` is the list's, or the one object's revision.
pub(crate) fn of_objects<'a>(
    descriptor: &ResourceDescriptor,
    objects: impl Iterator<Item = &'a Object>,
    metadata: Value,
    now: jiff::Timestamp,
    include: IncludeObject,
) -> Result<Value, Status> {
    let mut rows = Vec::new();
    for object in objects {
        let value = object.value().map_err(|error| Status::internal(format!("decode {object:?}: {error}")))?;
        rows.push(row(descriptor, &value, now, include));
    }
    Ok(json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns(descriptor), "rows": rows,
    }))
}

/// The table of one watch event.
pub(crate) fn of_event(
    descriptor: &ResourceDescriptor,
    value: &Value,
    now: jiff::Timestamp,
    include: IncludeObject,
    with_columns: bool,
) -> Value {
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": value.pointer("/metadata/resourceVersion")},
        "columnDefinitions": if with_columns { columns(descriptor) } else { Value::Null },
        "rows": [row(descriptor, value, now, include)],
    })
}

fn columns(descriptor: &ResourceDescriptor) -> Value {
    let name = json!({
        "name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Name of the object, unique within its namespace and kind.",
    });
    let others = descriptor.strategy.columns().iter().map(|column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format, "description": column.description,
            "priority": column.priority,
        })
    });
    descriptor.strategy.name_comes_first().then_some(name).into_iter().chain(others).collect()
}

/// Kinds show what is stored, in whichever form it is served.
fn stored_form<'a>(descriptor: &ResourceDescriptor, value: &'a Value) -> Cow<'a, Value> {
    let version = value.get("apiVersion").and_then(Value::as_str).and_then(|text| text.rsplit('/').next()).unwrap_or_default();
    match descriptor.other_form(version) {
        None => Cow::Borrowed(value),
        Some(other) => {
            let mut stored = value.clone();
            other.form.store(&mut stored);
            Cow::Owned(stored)
        }
    }
}

fn row(descriptor: &ResourceDescriptor, value: &Value, now: jiff::Timestamp, include: IncludeObject) -> Value {
    let name = || value.pointer("/metadata/name").cloned().unwrap_or(Value::Null);
    let mut cells: Vec<Value> = descriptor.strategy.name_comes_first().then(name).into_iter().collect();
    cells.extend(descriptor.strategy.cells(&stored_form(descriptor, value), Context { now }));
    match include {
        IncludeObject::None => json!({"cells": cells}),
        IncludeObject::Metadata => json!({"cells": cells, "object": partial_metadata(value["metadata"].clone())}),
        IncludeObject::Object => json!({"cells": cells, "object": value}),
    }
}

/// `meta/v1.PartialObjectMetadata` of a stored object; only its metadata is decoded.
///
/// # Errors
/// `InternalError` when the stored bytes cannot be decoded.
pub(crate) fn only_metadata(object: &Object) -> Result<Value, Status> {
    #[derive(serde::Deserialize)]
    struct OnlyMetadata {
        #[serde(default)]
        metadata: Value,
    }
    let OnlyMetadata { metadata } =
        object.decode().map_err(|error| Status::internal(format!("decode the metadata of {object:?}: {error}")))?;
    Ok(partial_metadata(metadata))
}

fn partial_metadata(metadata: Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}
