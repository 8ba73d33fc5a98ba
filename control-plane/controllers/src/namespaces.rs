//! What several controllers ask of namespaces.

use mizzen_api::{ObjectRef, Reason, Status};
use mizzen_reconcile::WatchCache;

/// Whether the namespace exists and takes new objects.
pub(crate) fn is_active(namespaces: &WatchCache, key: &ObjectRef) -> bool {
    namespaces.get(key).is_some_and(|namespace| !namespace.head().is_terminating())
}

/// Whether a write was refused because its namespace is on its way out: nobody need hear of it.
pub(crate) fn is_terminating_error(status: &Status) -> bool {
    status.is(Reason::Forbidden) && status.message.contains("because it is being terminated")
}
