//! Errors of the node API, as clients of the API server know them.

use axum::response::{IntoResponse, Response};
use mizzen_api::{Reason, Status};

/// Answers with a `v1.Status`, which the API server passes on as it is.
pub(super) fn refuse(reason: Reason, message: impl Into<String>) -> Response {
    answer(&Status::new(reason, message))
}

pub(super) fn answer(status: &Status) -> Response {
    let code = axum::http::StatusCode::from_u16(status.code).unwrap_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    (code, axum::Json(status.to_json())).into_response()
}
