//! The `scale` subresource (`autoscaling/v1.Scale`): three fields of another kind, as one object.

use std::sync::Arc;

use mizzen_api::descriptor::ScalePaths;
use mizzen_api::{Object, Status};
use mizzen_client::{ApiRequest, PatchKind, WriteOptions};
use serde_json::{Map, Value, json};

use super::apply_patch::check_kind;
use super::metadata;
use super::modify::Change;
use super::owners::Unmade;
use super::patch::unsupported;
use super::target::Target;
use super::write::{decoded, unstored};
use super::{Pipeline, Written};
use crate::auth::Identity;
use crate::errors;

const API_VERSION: &str = "autoscaling/v1";
const KIND: &str = "Scale";

/// The scale of a stored object.
pub(super) fn of(target: &Target, object: &Object) -> Result<Arc<Object>, Status> {
    let document = decoded(object)?;
    let place = &paths(target)?.spec_replicas;
    if target.descriptor.custom.is_some() && document.pointer(place).is_none_or(Value::is_null) {
        return Err(Status::internal(format!("the spec replicas field {:?} does not exist", place.replace('/', "."))));
    }
    let value = view(target, &document)?;
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
        "apiVersion": API_VERSION, "kind": KIND, "metadata": metadata,
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
        let given = super::body::read(request.body).await?.value;
        self.rescale(user, target, &request.write, |_| Ok(given.clone())).await
    }

    pub(super) async fn patch_scale(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        request: ApiRequest,
    ) -> Result<Written, Status> {
        let kind = match request.patch.ok_or_else(unsupported)? {
            PatchKind::Apply => return self.apply_scale(user, target, request).await,
            // A scale has no lists: both merges are the same.
            PatchKind::Strategic => PatchKind::Merge,
            kind => kind,
        };
        let patch = super::body::read(request.body).await?.value;
        self.rescale(user, target, &request.write, |old| {
            let mut scale = view(target, old)?;
            self.apply_patch(target, kind, &mut scale, &patch)?;
            Ok(scale)
        })
        .await
    }

    /// Applies the one field of a scale that a client sets to the object that has it.
    async fn apply_scale(&self, user: &Arc<Identity>, target: &Target, request: ApiRequest) -> Result<Written, Status> {
        let scale = super::body::read(request.body).await?.value;
        check_kind(&scale, API_VERSION, KIND)?;
        let options = &request.write;
        let place = &paths(target)?.spec_replicas;
        let mut written = self
            .modify_in_versions(user, target, options, |old, conversions| {
                refuse_stale(target, &scale, old).map_err(Unmade::Refused)?;
                let mut config = json!({"apiVersion": target.api_version(), "kind": &*target.descriptor.kind});
                if scale.pointer("/spec/replicas").is_some_and(|replicas| !replicas.is_null()) {
                    set(&mut config, place, json!(replicas(target, &scale).map_err(Unmade::Refused)?));
                }
                let mut document = self.merge(target, options, (Some(old), conversions), &config)?;
                if document.pointer(place).is_none() {
                    // A scale that does not say how many is one of none.
                    set(&mut document, place, json!(0));
                }
                Ok(Change { document, warnings: Vec::new(), owned: true })
            })
            .await?;
        written.object = of(target, &written.object)?;
        Ok(written)
    }

    async fn rescale(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        options: &WriteOptions,
        mut scale: impl FnMut(&Value) -> Result<Value, Status> + Send,
    ) -> Result<Written, Status> {
        let mut written = self
            .modify(user, target, options, |old| {
                let scale = scale(old)?;
                let document = write(target, old.clone(), &scale)?;
                refuse_stale(target, &scale, old)?;
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
    set(&mut document, &paths(target)?.spec_replicas, json!(replicas(target, scale)?));
    Ok(document)
}

/// How many a scale asks for.
fn replicas(target: &Target, scale: &Value) -> Result<i64, Status> {
    let Some(value) = scale.pointer("/spec/replicas").filter(|value| !value.is_null()) else { return Ok(0) };
    let count = value.as_i64().filter(|count| i32::try_from(*count).is_ok() && *count >= 0);
    count.ok_or_else(|| {
        let why = format!("Invalid value: {value}: must be greater than or equal to 0");
        Status::invalid("Scale.autoscaling", &target.name, vec![errors::cause("FieldValueInvalid", "spec.replicas", why)])
    })
}

/// A scale that names a revision is of that one.
fn refuse_stale(target: &Target, scale: &Value, old: &Value) -> Result<(), Status> {
    let asked = metadata::text(scale, "resourceVersion");
    if asked.is_empty() || asked == metadata::text(old, "resourceVersion") {
        return Ok(());
    }
    Err(errors::modified(&target.group_resource(), &target.name))
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
