//! Request bodies: limits and content types.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mizzen_api::{Reason, Status};
use mizzen_client::PatchKind;

use crate::pipeline::body::{MAX_BYTES, check_room};
use crate::{cbor, protobuf};

/// `deadline` bounds how long the body may take: the request has a seat meanwhile, which others wait for.
///
/// # Errors
/// 413 for more than [`MAX_BYTES`], 504 when it does not end in time, `BadRequest` when the connection breaks.
pub(super) async fn read(body: Body, deadline: Duration) -> Result<Bytes, Status> {
    let read = tokio::time::timeout(deadline, Limited::new(body, MAX_BYTES).collect());
    let late = |_| Status::new(Reason::Timeout, format!("the request's body did not end within {deadline:?}"));
    let read = read.await.map_err(late)?;
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Status::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {MAX_BYTES}")))
        }
        Err(error) => Err(Status::bad_request(format!("read the request body: {error}"))),
    }
}

/// The body in the form that `Content-Type` names; JSON when it names none. Custom kinds have no messages: for them a body in
/// `protobuf` is of a type that is not known.
pub(super) fn document(headers: &HeaderMap, bytes: Bytes, protobuf: bool) -> Result<mizzen_client::Body, Status> {
    if bytes.is_empty() {
        return Ok(mizzen_client::Body::None);
    }
    match media_type(headers).as_str() {
        // What a client sends that did not think of it (curl -d).
        "" | "application/json" | "application/x-www-form-urlencoded" | "*/*" => Ok(mizzen_client::Body::Json(bytes)),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(mizzen_client::Body::Yaml(bytes)),
        protobuf::MEDIA_TYPE if protobuf => {
            let value = protobuf::decode(&bytes).map_err(|error| Status::bad_request(error.to_string()))?;
            check_room(&value)?;
            Ok(mizzen_client::Body::Value(value))
        }
        cbor::MEDIA_TYPE => Ok(mizzen_client::Body::Value(from_cbor(&bytes)?)),
        _ if protobuf => {
            Err(unsupported("application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor"))
        }
        _ => Err(unsupported("application/json, application/yaml, application/cbor")),
    }
}

/// What kind of patch a body is, and the body in its form.
pub(super) fn patch(headers: &HeaderMap, bytes: Bytes) -> Result<(PatchKind, mizzen_client::Body), Status> {
    use mizzen_client::Body::{Json, Value, Yaml};
    Ok(match media_type(headers).as_str() {
        "application/json-patch+json" => (PatchKind::Json, Json(bytes)),
        "application/merge-patch+json" => (PatchKind::Merge, Json(bytes)),
        "application/strategic-merge-patch+json" => (PatchKind::Strategic, Json(bytes)),
        "application/apply-patch+yaml" => (PatchKind::Apply, Yaml(bytes)),
        "application/apply-patch+cbor" => (PatchKind::Apply, Value(from_cbor(&bytes)?)),
        _ => {
            return Err(unsupported(
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
                 application/apply-patch+yaml, application/apply-patch+cbor",
            ));
        }
    })
}

fn from_cbor(bytes: &[u8]) -> Result<serde_json::Value, Status> {
    let value = cbor::decode(bytes).map_err(|error| Status::bad_request(error.to_string()))?;
    check_room(&value)?;
    Ok(value)
}

fn unsupported(accepted: &str) -> Status {
    let why = format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    Status::new(Reason::UnsupportedMediaType, why)
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
