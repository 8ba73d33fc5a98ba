//! The schemas of a definition, read when somebody needs them.

use mizzen_api::Object;
use serde_json::Value;

use crate::definition::{list, text};

/// A definition as it is stored: its bytes are the store's own.
#[derive(Clone)]
pub struct Source(bytes::Bytes);

impl Source {
    pub fn stored(definition: &Object) -> Self {
        Self(definition.bytes().clone())
    }

    /// For definitions that are not in the store.
    pub fn of(definition: &Value) -> Self {
        Self(definition.to_string().into())
    }

    /// The `openAPIV3Schema` of a version; null without one.
    pub(super) fn schema(&self, version: &str) -> Value {
        // What is stored was JSON when it came.
        let definition: Value = serde_json::from_slice(&self.0).unwrap_or_default();
        let version = list(&definition, "/spec/versions").iter().find(|found| text(found, "/name") == version);
        version.and_then(|version| version.pointer("/schema/openAPIV3Schema").cloned()).unwrap_or_default()
    }
}
