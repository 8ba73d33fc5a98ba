//! Request bodies: limits and content types.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body as _;
use mizzen_api::{Reason, Status};
use mizzen_client::PatchKind;

use crate::pipeline::body::{MAX_BYTES, check_room};
use crate::{cbor, protobuf};

/// How much more than [`MAX_BYTES`] is taken and thrown away: a client that is cut off while it sends often does not see why.
const THROWN_AWAY: usize = 32 << 20;

/// `deadline` bounds how long the body may take: the request has a seat meanwhile, which others wait for.
///
/// # Errors
/// 413 for more than [`MAX_BYTES`], 504 when it does not end in time, `BadRequest` when the connection breaks.
pub(super) async fn read(body: Body, deadline: Duration) -> Result<Bytes, Status> {
    let read = tokio::time::timeout(deadline, collect(body));
    let late = |_| Status::new(Reason::Timeout, format!("the request's body did not end within {deadline:?}"));
    let read = read.await.map_err(late)?;
    match read {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Status::new(Reason::RequestEntityTooLarge, format!("Request entity too large: limit is {MAX_BYTES}"))),
        Err(error) => Err(Status::bad_request(format!("read the request body: {error}"))),
    }
}

/// `None` for a body that is too large.
async fn collect(body: Body) -> Result<Option<Bytes>, axum::Error> {
    if body.size_hint().lower() > (MAX_BYTES + THROWN_AWAY) as u64 {
        return Ok(None);
    }
    let (mut chunks, mut size) = (Vec::new(), 0_usize);
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await.transpose()? {
        size = size.saturating_add(chunk.len());
        match size {
            ..=MAX_BYTES => chunks.push(chunk),
            _ if size > MAX_BYTES + THROWN_AWAY => return Ok(None),
            _ => chunks.clear(),
        }
    }
    Ok(match (size > MAX_BYTES, chunks.as_slice()) {
        (true, _) => None,
        (false, [whole]) => Some(whole.clone()),
        (false, chunks) => Some(chunks.concat().into()),
    })
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
