//! Resources and subresources that are answered, not stored: reviews, tokens.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::Status;
use serde_json::Value;

use crate::auth::Identity;

/// Who asks, and for which object.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub identity: Arc<Identity>,
    /// Empty for a cluster-scoped resource.
    pub namespace: String,
    /// Empty unless a subresource of a named object is asked for.
    pub name: String,
    pub dry_run: bool,
}

/// Answers a `create` with an object that is not stored. The request is authorized before it is called.
#[async_trait]
pub trait Virtual: Send + Sync + 'static {
    /// # Errors
    /// The status to answer with.
    async fn create(&self, context: RequestContext, body: Value) -> Result<Value, Status>;
}

/// Which virtual answers for which group, resource and subresource (empty for the resource itself).
#[derive(Clone, Default)]
pub struct Virtuals {
    entries: HashMap<(String, String, String), Arc<dyn Virtual>>,
}

impl Virtuals {
    #[must_use]
    pub fn with(mut self, group: &str, resource: &str, subresource: &str, answer: Arc<dyn Virtual>) -> Self {
        self.entries.insert((group.to_owned(), resource.to_owned(), subresource.to_owned()), answer);
        self
    }

    pub(crate) fn find(&self, group: &str, resource: &str, subresource: &str) -> Option<&Arc<dyn Virtual>> {
        self.entries.get(&(group.to_owned(), resource.to_owned(), subresource.to_owned()))
    }
}
