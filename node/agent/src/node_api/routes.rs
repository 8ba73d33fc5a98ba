//! Paths.

use axum::Router;
use axum::extract::State as Axum;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::json;

use super::{State, logs, port_forward, streams};

pub(super) fn router(state: State) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::logs))
        .route("/exec/{namespace}/{pod}/{container}", any(streams::exec))
        .route("/attach/{namespace}/{pod}/{container}", any(streams::attach))
        .route("/portForward/{namespace}/{pod}", any(port_forward::port_forward))
        .with_state(state)
}

/// Answers everything with 403.
pub(super) fn forbidden(who: &str) -> Router {
    let message = format!("Forbidden: {who} may not ask the node API");
    Router::new().fallback(move || async move { (StatusCode::FORBIDDEN, message) })
}

async fn pods(Axum(state): Axum<State>) -> Response {
    let items: Vec<_> = state.pods.all().iter().map(|handle| handle.desired.borrow().pod.clone()).collect();
    axum::Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})).into_response()
}
