//! Kinds that are served in other forms than the one that is stored.

use std::sync::Arc;

use serde_json::Value;

use crate::status::Cause;

/// Turns documents of one served version into the stored form and back. Metadata is the same in both; `apiVersion` and
/// `kind` are set by the caller. Fields that neither form knows stay where they are.
pub trait Form: Send + Sync + 'static {
    fn store(&self, object: &mut Value);

    fn show(&self, object: &mut Value);

    /// What only this version says of a new object, besides the stored form's rules; paths are of this version.
    fn validate_new(&self, _object: &Value) -> Vec<Cause> {
        Vec::new()
    }
}

/// A served version whose documents are not stored as they are.
#[derive(Clone)]
pub struct OtherForm {
    pub version: Arc<str>,
    /// Name in the schema set.
    pub schema: Arc<str>,
    pub form: Arc<dyn Form>,
}
