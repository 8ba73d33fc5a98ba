//! Paths.

use axum::Router;
use axum::extract::State as Axum;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::json;

use super::{State, logs, port_forward, streams, usage};

pub(super) fn router(state: State) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/stats/summary", get(usage::summary))
        .route("/metrics/resource", get(usage::metrics))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::logs))
        .route("/exec/{namespace}/{pod}/{container}", any(streams::exec))
        .route("/attach/{namespace}/{pod}/{container}", any(streams::attach))
        .route("/portForward/{namespace}/{pod}", any(port_forward::port_forward))
        .with_state(state)
}

async fn pods(Axum(state): Axum<State>) -> Response {
    let items: Vec<_> = state.pods.all().iter().map(|handle| handle.desired.borrow().pod.clone()).collect();
    axum::Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})).into_response()
}
