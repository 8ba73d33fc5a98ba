//! Stored objects that the server itself looks at.

use std::sync::Arc;

use mizzen_api::{Object, Registry};
use mizzen_store::Store;

/// An object of a core kind, under the key that the kind's descriptor gives it.
pub(crate) fn core(store: &dyn Store, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
    let descriptor = Registry::builtin().by_group_resource("", resource)?;
    store.get(&descriptor.key(namespace, name))
}
