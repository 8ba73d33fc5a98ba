//! How stored objects of custom kinds look to a client, and how a client's documents are stored.

use std::sync::Arc;

use mizzen_api::descriptor::Custom;
use mizzen_api::{Object, ResourceDescriptor, Status};
use mizzen_store::Event;
use serde_json::Value;

use super::CustomKinds;

impl CustomKinds {
    /// Objects in the descriptor's version, pruned and defaulted by its schema. Objects of built-in kinds, and those that
    /// are stored as they are shown, are given back as they are.
    ///
    /// # Errors
    /// When a conversion webhook fails.
    pub(crate) async fn shown(
        &self,
        descriptor: &ResourceDescriptor,
        objects: Vec<Arc<Object>>,
    ) -> Result<Vec<Arc<Object>>, Status> {
        let Some(custom) = &descriptor.custom else { return Ok(objects) };
        let version = descriptor.storage_version();
        if !custom.is_rewritten && objects.iter().all(|object| is_of(descriptor, version, object)) {
            return Ok(objects);
        }
        let mut documents = objects.iter().map(|object| decoded(object)).collect::<Result<Vec<_>, _>>()?;
        documents.iter_mut().for_each(|document| default_as_stored(descriptor, custom, document));
        let converted = self.convert(descriptor, custom, version, documents).await?;
        let shown = objects.iter().zip(converted).map(|(object, mut document)| {
            descriptor.strategy.default(&mut document);
            let bytes = serde_json::to_vec(&document).map_err(|error| Status::internal(format!("encode {object:?}: {error}")))?;
            Ok(Arc::new(Object::new(bytes, object.revision())))
        });
        shown.collect()
    }

    pub(crate) async fn shown_one(&self, descriptor: &ResourceDescriptor, object: Arc<Object>) -> Result<Arc<Object>, Status> {
        if descriptor.custom.is_none() {
            return Ok(object);
        }
        let mut shown = self.shown(descriptor, vec![object]).await?;
        shown.pop().ok_or_else(|| Status::internal("a conversion lost the object"))
    }

    /// Changes as watches in the descriptor's version tell them. All watches share what is made for one.
    pub(crate) async fn shown_events(
        &self,
        descriptor: &Arc<ResourceDescriptor>,
        events: &[Event],
    ) -> Result<Vec<Event>, Status> {
        let mut shown = Vec::with_capacity(events.len());
        for event in events {
            // The version before was shown when it was new.
            let previous = self.shown_to_all(descriptor, event.previous.as_ref()).await?;
            let object = self.shown_to_all(descriptor, event.object.as_ref()).await?;
            shown.push(Event { object, previous, ..event.clone() });
        }
        Ok(shown)
    }

    async fn shown_to_all(
        &self,
        descriptor: &Arc<ResourceDescriptor>,
        object: Option<&Arc<Object>>,
    ) -> Result<Option<Arc<Object>>, Status> {
        let Some(object) = object else { return Ok(None) };
        let is_rewritten = descriptor.custom.as_ref().is_some_and(|custom| custom.is_rewritten);
        if !is_rewritten && is_of(descriptor, descriptor.storage_version(), object) {
            return Ok(Some(object.clone()));
        }
        self.shared.get(descriptor, object, self.shown_one(descriptor, object.clone())).await.map(Some)
    }

    /// A document as it is stored.
    ///
    /// # Errors
    /// When a conversion webhook fails.
    pub(crate) async fn stored(&self, descriptor: &ResourceDescriptor, document: Value) -> Result<Value, Status> {
        let Some(custom) = &descriptor.custom else { return Ok(document) };
        let mut stored = self.convert(descriptor, custom, &custom.stored_version, vec![document]).await?;
        stored.pop().ok_or_else(|| Status::internal("a conversion lost the object"))
    }

    /// Whether an object is stored in a version that new objects are not stored in any more.
    pub(crate) fn is_stale(descriptor: &ResourceDescriptor, object: &Object) -> bool {
        descriptor.custom.as_ref().is_some_and(|custom| !is_of(descriptor, &custom.stored_version, object))
    }
}

/// `apiVersion` comes first in documents as they are encoded ([`mizzen_api::object::Encoded::from_value`]).
fn is_of(descriptor: &ResourceDescriptor, version: &str, object: &Object) -> bool {
    let rest = object.bytes().strip_prefix(br#"{"apiVersion":""#.as_slice());
    let rest = rest.and_then(|rest| rest.strip_prefix(descriptor.group.as_bytes()));
    let rest = rest.and_then(|rest| rest.strip_prefix(b"/"));
    rest.and_then(|rest| rest.strip_prefix(version.as_bytes())).is_some_and(|rest| rest.starts_with(b"\""))
}

/// Who converts a document may count on the defaults of the version that it is in.
fn default_as_stored(descriptor: &ResourceDescriptor, custom: &Custom, document: &mut Value) {
    let stored = document["apiVersion"].as_str().and_then(|text| text.strip_prefix(&*descriptor.group)?.strip_prefix('/'));
    let stored = stored.filter(|version| **version != **descriptor.storage_version());
    if let Some(strategy) = stored.and_then(|version| custom.strategies.get(version)).cloned() {
        strategy.default(document);
    }
}

fn decoded(object: &Object) -> Result<Value, Status> {
    object.value().map_err(|error| Status::internal(format!("decode {object:?}: {error}")))
}
