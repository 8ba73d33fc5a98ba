//! Tables and metadata-only views of objects (API concepts, "Resources as Tables" and "Metadata-only").

use std::borrow::Cow;

use mizzen_api::descriptor::{Column, Context};
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

/// How a table is to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// Of `meta.k8s.io`.
    pub(crate) version: &'static str,
    pub(crate) include: IncludeObject,
    pub(crate) now: jiff::Timestamp,
}

/// A table of objects; `metadata` is the list's, or the one object's revision.
///
/// # Errors
/// `InternalError` when stored bytes cannot be decoded.
pub(crate) fn of_objects<'a>(
    descriptor: &ResourceDescriptor,
    objects: impl Iterator<Item = &'a Object>,
    metadata: Value,
    view: View,
) -> Result<Value, Status> {
    let rows = objects.map(|object| row(descriptor, object, view)).collect::<Result<Vec<_>, Status>>()?;
    Ok(table(metadata, columns(descriptor), rows, view.version))
}

/// The table of one watch event.
///
/// # Errors
/// `InternalError` when stored bytes cannot be decoded.
pub(crate) fn of_event(
    descriptor: &ResourceDescriptor,
    object: &Object,
    view: View,
    with_columns: bool,
) -> Result<Value, Status> {
    let columns = if with_columns { columns(descriptor) } else { Value::Null };
    let metadata = json!({"resourceVersion": object.head().resource_version});
    Ok(table(metadata, columns, vec![row(descriptor, object, view)?], view.version))
}

/// The table of a bookmark: a row without cells.
pub(crate) fn of_bookmark(metadata: Value, version: &str) -> Value {
    let revision = json!({"resourceVersion": metadata["resourceVersion"]});
    table(revision, Value::Null, vec![json!({"cells": [], "object": partial_metadata(metadata, version)})], version)
}

fn table(metadata: Value, columns: Value, rows: Vec<Value>, version: &str) -> Value {
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

/// The table of one scale (`autoscaling/v1.Scale`), whatever it is that is scaled.
///
/// # Errors
/// `InternalError` when its bytes cannot be decoded.
pub(crate) fn of_scale(scale: &Object, metadata: Value, view: View) -> Result<Value, Status> {
    let columns = [
        Column { format: "".into(), ..Column::named("Name", "Name of what is scaled.") },
        Column::number("Desired", "How many pods there should be."),
        Column::number("Available", "How many pods there are."),
        Column::AGE,
    ];
    let value = scale.value().map_err(|error| Status::internal(format!("decode {scale:?}: {error}")))?;
    let count = |path: &str| value.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    let cells = json!([
        value["metadata"]["name"],
        count("/spec/replicas"),
        count("/status/replicas"),
        mizzen_api::print::age(&value, view.now),
    ]);
    let columns = columns.iter().map(definition).collect();
    Ok(table(metadata, columns, vec![with_object(cells, value, view)], view.version))
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name, "type": column.kind, "format": column.format, "description": column.description,
        "priority": column.priority,
    })
}

fn columns(descriptor: &ResourceDescriptor) -> Value {
    let name = json!({
        "name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Name of the object, unique within its namespace and kind.",
    });
    let others = descriptor.strategy.columns().iter().map(definition);
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

fn row(descriptor: &ResourceDescriptor, object: &Object, view: View) -> Result<Value, Status> {
    let value = object.value().map_err(|error| Status::internal(format!("decode {object:?}: {error}")))?;
    let name = || value.pointer("/metadata/name").cloned().unwrap_or(Value::Null);
    let mut cells: Vec<Value> = descriptor.strategy.name_comes_first().then(name).into_iter().collect();
    cells.extend(descriptor.strategy.cells(&stored_form(descriptor, &value), Context { now: view.now }));
    Ok(with_object(cells.into(), value, view))
}

fn with_object(cells: Value, value: Value, view: View) -> Value {
    match view.include {
        IncludeObject::None => json!({"cells": cells}),
        IncludeObject::Metadata => {
            json!({"cells": cells, "object": partial_metadata(value["metadata"].clone(), view.version)})
        }
        IncludeObject::Object => json!({"cells": cells, "object": value}),
    }
}

/// `meta.k8s.io` PartialObjectMetadata of a stored object; only its metadata is decoded.
///
/// # Errors
/// `InternalError` when the stored bytes cannot be decoded.
pub(crate) fn only_metadata(object: &Object, version: &str) -> Result<Value, Status> {
    #[derive(serde::Deserialize)]
    struct OnlyMetadata {
        #[serde(default)]
        metadata: Value,
    }
    let OnlyMetadata { metadata } =
        object.decode().map_err(|error| Status::internal(format!("decode the metadata of {object:?}: {error}")))?;
    Ok(partial_metadata(metadata, version))
}

pub(crate) fn partial_metadata(metadata: Value, version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata})
}

/// The same for a list.
///
/// # Errors
/// `InternalError` when stored bytes cannot be decoded.
pub(crate) fn metadata_list<'a>(
    objects: impl Iterator<Item = &'a Object>,
    metadata: &Value,
    version: &str,
) -> Result<Value, Status> {
    let items = objects.map(|object| only_metadata(object, version)).collect::<Result<Vec<_>, Status>>()?;
    Ok(json!({
        "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
        "items": items,
    }))
}
