//! How every component reaches the API: one [`Client`] trait, in process or over HTTPS.

mod discovery;
pub mod http;
mod relay;
pub mod request;
mod unverified;

pub use discovery::{Discovery, ServedResource};
pub use relay::relay;
pub use request::{
    ApiRequest, ApiResponse, Body, DeleteOptions, ListOptions, ObjectList, PatchKind, Propagation, WatchEvent, WatchOptions,
    WriteOptions,
};
pub use unverified::unverified;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use mizzen_api::{GroupVersionResource, Object, Status};

/// A stream of changes; it ends when the server ends the watch, and an error is its last item.
pub type WatchStream = BoxStream<'static, Result<WatchEvent, Status>>;

/// The Kubernetes API as seen by one identity. In process it passes the same authorization and admission as over HTTPS.
///
/// Implementors pass the suite in `testing` of the crate that implements it through the real pipeline.
#[async_trait]
pub trait Client: Send + Sync + 'static {
    /// # Errors
    /// `NotFound`, or whatever the API answers.
    async fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status>;

    /// `namespace` empty lists all namespaces.
    ///
    /// # Errors
    /// `Expired` when a continue token or revision is too old, or whatever the API answers.
    async fn list(&self, resource: &GroupVersionResource, namespace: &str, options: &ListOptions) -> Result<ObjectList, Status>;

    /// # Errors
    /// `Expired` (410) when `options.resource_version` was compacted: list again.
    async fn watch(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status>;

    /// Any request that writes: create, update, patch, delete, delete collection, and writes to subresources.
    ///
    /// # Errors
    /// `Conflict`, `AlreadyExists`, `Invalid`, … as the API answers.
    async fn write(&self, request: ApiRequest) -> Result<ApiResponse, Status>;

    /// What is served. In process, the same pointer as before means that nothing has changed.
    ///
    /// # Errors
    /// Whatever the API answers.
    async fn discover(&self) -> Result<Arc<Discovery>, Status>;
}
