//! StorageObjectInUseProtection: volumes and claims get the finalizers that keep them while they are in use.

use async_trait::async_trait;
use mizzen_api::Status;
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin};

pub(super) struct StorageProtection;

#[async_trait]
impl Plugin for StorageProtection {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        if attributes.operation != Operation::Create || !attributes.subresource().is_empty() {
            return Ok(());
        }
        let finalizer = match (attributes.group(), attributes.resource()) {
            ("", "persistentvolumes") => "kubernetes.io/pv-protection",
            ("", "persistentvolumeclaims") => "kubernetes.io/pvc-protection",
            _ => return Ok(()),
        };
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return Ok(()) };
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        match finalizers.as_array_mut() {
            Some(list) if list.iter().all(|held| held != finalizer) => list.push(finalizer.into()),
            Some(_) => {}
            None => *finalizers = json!([finalizer]),
        }
        Ok(())
    }
}
