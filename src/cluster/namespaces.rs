//! Namespaces by name, as policies see those of the requests that they review.

use std::sync::Arc;

use mizzen_api::Registry;
use mizzen_store::Store;

/// Reads what is stored.
pub struct Namespaces {
    store: Arc<dyn Store>,
    registry: Registry,
}

impl Namespaces {
    pub fn new(store: Arc<dyn Store>, registry: Registry) -> Arc<Self> {
        Arc::new(Self { store, registry })
    }

    /// The whole object as JSON.
    pub fn get(&self, name: &str) -> Option<String> {
        let descriptor = self.registry.by_group_resource("", "namespaces")?;
        let object = self.store.get(&descriptor.key("", name))?;
        String::from_utf8(object.bytes().to_vec()).ok()
    }
}
