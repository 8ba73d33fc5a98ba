//! What several controllers ask of namespaces.

use mizzen_api::ObjectRef;
use mizzen_reconcile::WatchCache;

/// Whether the namespace exists and takes new objects.
pub(crate) fn is_active(namespaces: &WatchCache, key: &ObjectRef) -> bool {
    namespaces.get(key).is_some_and(|namespace| !namespace.head().is_terminating())
}
