//! ComponentStatuses: told, not stored.

use std::sync::Arc;

use mizzen_api::{Object, Status};
use serde_json::json;

use super::target::Target;
use super::write::unstored;

/// The parts of a control plane under the names that clients look for.
const COMPONENTS: [&str; 3] = ["controller-manager", "etcd-0", "scheduler"];

/// Whether it is about the parts of the control plane.
pub(super) fn is_about(target: &Target) -> bool {
    target.descriptor.group.is_empty() && &*target.descriptor.resource == "componentstatuses"
}

/// All of them. They are of this process, which ends with any of them: who answers has all.
///
/// # Errors
/// Never, since they can be encoded.
pub(super) fn all() -> Result<Vec<Arc<Object>>, Status> {
    let told = COMPONENTS.map(|name| {
        json!({"apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name},
            "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]})
    });
    told.iter().map(|component| unstored(component).map(Arc::new)).collect()
}

/// # Errors
/// `NotFound` for other names.
pub(super) fn named(target: &Target) -> Result<Arc<Object>, Status> {
    let found = all()?.into_iter().find(|component| component.head().name == target.name);
    found.ok_or_else(|| Status::not_found(&target.group_resource(), &target.name))
}
