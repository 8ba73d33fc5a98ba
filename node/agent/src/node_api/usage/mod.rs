//! What the node, its pods and their containers use: `/stats/summary` and `/metrics/resource`, as the kubelet has them.
//! <https://kubernetes.io/docs/reference/instrumentation/node-metrics/>

mod exposition;
mod machine;
mod pace;
mod sample;
mod spent;
mod summary;

use axum::extract::State as Axum;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::State;
pub(super) use pace::Paces;
pub(super) use spent::Spent;

pub(super) async fn summary(Axum(state): Axum<State>) -> Response {
    match sample::take(&state).await {
        Ok(sample) => axum::Json(summary::of(&state.shared.node_name, &sample)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Scrapers are told of an error by `scrape_error`, and get what there is.
pub(super) async fn metrics(Axum(state): Axum<State>) -> Response {
    let sample = sample::take(&state).await.inspect_err(|error| tracing::warn!(%error, "the node's use is not known"));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], exposition::page(sample.as_ref().ok())).into_response()
}
