//! Files from an object that has its content by key: a ConfigMap or a Secret.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::KeyToPath;
use mizzen_api::{GroupVersionResource, Reason};
use serde::de::DeserializeOwned;

use super::Setup;
use crate::VolumeError;
use crate::payload::{Payload, project};

/// Which object, and what of it.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    /// All keys when empty.
    pub(super) items: Option<&'a [KeyToPath]>,
    pub(super) default_mode: u32,
    /// No error when the object, or a key of `items`, is missing.
    pub(super) optional: bool,
}

/// `kind` is the resource in the singular, as messages have it.
pub(super) async fn files<T: DeserializeOwned + Send + Sync + 'static>(
    setup: &Setup<'_>,
    kind: &'static str,
    source: &Source<'_>,
    content: impl FnOnce(&T) -> BTreeMap<String, Vec<u8>>,
) -> Result<Payload, VolumeError> {
    let name = || source.name.to_owned();
    let resource = GroupVersionResource::new("", "v1", format!("{kind}s"));
    let object = match setup.client.get(&resource, setup.pod.namespace(), source.name).await {
        Ok(object) => object,
        Err(status) if status.is(Reason::NotFound) && source.optional => return Ok(Payload::new()),
        Err(status) if status.is(Reason::NotFound) => return Err(VolumeError::NotFound { kind, name: name() }),
        Err(status) => return Err(VolumeError::Api { operation: "get", kind, name: name(), status: Box::new(status) }),
    };
    let object = object.typed::<T>().map_err(|source| VolumeError::Decode { kind, name: name(), source })?;
    project(kind, &content(&object), source.items, source.default_mode, source.optional)
}
