//! The `scale` subresource (`autoscaling/v1.Scale`): three fields of another kind, as one object.

use std::sync::Arc;

use mizzen_api::descriptor::ScalePaths;
use mizzen_api::{Object, Status};
use mizzen_client::ApiRequest;
use serde_json::{Map, Value, json};

use super::metadata;
use super::modify::Change;
use super::patch::unsupported;
use super::target::Target;
use super::write::{decoded, unstored};
use super::{Pipeline, Written};
use crate::auth::Identity;
use crate::errors;

/// The scale of a stored object.
pub(super) fn of(target: &Target, object: &Object) -> Result<Arc<Object>, Status> {
    let value = view(target, &decoded(object)?)?;
    let mut view = unstored(&value)?;
    view = Object::new(view.bytes().clone(), object.revision());
    Ok(Arc::new(view))
}

fn paths(target: &Target) -> Result<&ScalePaths, Status> {
    target.descriptor.scale.as_ref().ok_or_else(errors::no_such_path)
}

/// The scale of a document.
pub(crate) fn view(target: &Target, object: &Value) -> Result<Value, Status> {
    let paths = paths(target)?;
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let meta = |field: &str| object.get("metadata").and_then(|metadata| metadata.get(field)).cloned();
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = meta(field) {
            metadata.insert(field.to_owned(), value);
        }
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    let selector = Some(&*paths.selector)
        .filter(|pointer| !pointer.is_empty())
        .and_then(|pointer| object.pointer(pointer))
        .map(selector_text)
        .unwrap_or_default();
    if !selector.is_empty() {
        status["selector"] = Value::String(selector);
    }
    Ok(json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata,
        "spec": {"replicas": number(&paths.spec_replicas)}, "status": status,
    }))
}

/// A label selector in the form that queries use.
fn selector_text(selector: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    // A replication controller's selector is labels alone.
    for (key, value) in selector.as_object().into_iter().flatten() {
        parts.extend(value.as_str().map(|value| format!("{key}={value}")));
    }
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for requirement in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = requirement.get("key").and_then(Value::as_str).unwrap_or_default();
        let values: Vec<&str> =
            requirement.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match requirement.get("operator").and_then(Value::as_str) {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

impl Pipeline {
    pub(super) async fn update_scale(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        request: ApiRequest,
    ) -> Result<Written, Status> {
        let given = super::body::parse(request.body)?.value;
        self.rescale(user, target, &request.write, |_| Ok(given.clone())).await
    }

    pub(super) async fn patch_scale(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        request: ApiRequest,
    ) -> Result<Written, Status> {
        let kind = request.patch.ok_or_else(unsupported)?;
        let patch = super::body::parse(request.body)?.value;
        self.rescale(user, target, &request.write, |old| {
            let mut scale = view(target, old)?;
            match kind {
                // A scale has no lists: both merges are the same.
                mizzen_client::PatchKind::Strategic | mizzen_client::PatchKind::Apply => {
                    self.apply_patch(target, mizzen_client::PatchKind::Merge, &mut scale, &patch)?;
                }
                kind => self.apply_patch(target, kind, &mut scale, &patch)?,
            }
            Ok(scale)
        })
        .await
    }

    async fn rescale(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        options: &mizzen_client::WriteOptions,
        mut scale: impl FnMut(&Value) -> Result<Value, Status> + Send,
    ) -> Result<Written, Status> {
        let mut written = self
            .modify(user, target, options, |old| {
                let scale = scale(old)?;
                let document = write(target, old.clone(), &scale)?;
                let asked = metadata::text(&scale, "resourceVersion");
                if !asked.is_empty() && asked != metadata::text(old, "resourceVersion") {
                    return Err(errors::modified(&target.group_resource(), &target.name));
                }
                Ok(Change::from(document))
            })
            .await?;
        written.object = of(target, &written.object)?;
        Ok(written)
    }
}

/// The document with the number of a scale.
///
/// # Errors
/// `Invalid` when it is no number of replicas.
pub(crate) fn write(target: &Target, mut document: Value, scale: &Value) -> Result<Value, Status> {
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(value) => match value.as_i64() {
            Some(replicas) if i32::try_from(replicas).is_ok() && replicas >= 0 => replicas,
            _ => {
                let why = format!("Invalid value: {value}: must be greater than or equal to 0");
                let cause = errors::cause("FieldValueInvalid", "spec.replicas", &why);
                return Err(errors::invalid(&target.descriptor, &target.name, vec![cause]));
            }
        },
    };
    set(&mut document, &paths(target)?.spec_replicas, json!(replicas));
    Ok(document)
}

/// Sets the value at a pointer of field names, making the objects on the way.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let mut place = document;
    for name in pointer.split('/').skip(1) {
        if place.is_null() {
            *place = json!({});
        }
        let Some(object) = place.as_object_mut() else { return };
        place = object.entry(name.replace("~1", "/").replace("~0", "~")).or_insert(Value::Null);
    }
    *place = value;
}
