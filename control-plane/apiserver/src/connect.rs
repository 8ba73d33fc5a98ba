//! Subresources that open a stream to a node: `pods/log`, `exec`, `attach`, `portforward`, and `nodes/proxy`; and the tunnels
//! that nodes open.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::response::Response;
use mizzen_api::{Object, Status};

use crate::auth::Identity;
pub use crate::carried::Carried;

/// The subresources that [`Connect`] serves.
pub(crate) const SUBRESOURCES: &[&str] = &["log", "exec", "attach", "portforward"];

/// Serves a stream from or to a pod. The request is authorized and the pod exists when it is called.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// Answers the whole request; failures are answered as `v1.Status` bodies.
    async fn connect(
        &self,
        identity: Arc<Identity>,
        pod: Arc<Object>,
        subresource: &str,
        request: axum::http::Request<Body>,
    ) -> Response;

    /// Answers a request to a node's own API: what is below `nodes/proxy`. The request is authorized and the node exists
    /// when it is called.
    async fn node(&self, node: &str, path: &str, request: axum::http::Request<Body>) -> Response;

    /// A connection to a port of a pod (`IP:PORT`) by the tunnel of its node; `None` where the node has none, and the pod has to be
    /// reached by its address.
    ///
    /// # Errors
    /// Why the node does not reach the pod.
    async fn reach(&self, _node: &str, _pod: &str) -> Option<Result<Carried, String>> {
        None
    }

    /// Takes up the tunnel of a node, which is who asks, by which the node is asked from then on.
    ///
    /// # Errors
    /// `BadRequest` when the request is for something else.
    fn tunnel(&self, node: &str, request: axum::http::Request<Body>) -> Result<Response, Status>;
}
