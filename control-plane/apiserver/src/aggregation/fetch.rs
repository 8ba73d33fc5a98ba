//! What the server itself asks of other API servers: whether they are there, and what they serve.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Limited};
use mizzen_api::Status;
use parking_lot::Mutex;
use serde_json::Value;

use super::backend::Backend;
use super::relay;
use crate::auth::Identity;

/// For the whole of an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("service unavailable")]
    Unavailable,
    #[error("resolve the service: {0}")]
    Resolve(Status),
    #[error("{0}")]
    Tls(String),
    #[error("Get {url:?}: {why}")]
    Exchange { url: String, why: String },
    #[error("Get {url:?}: context deadline exceeded")]
    Timeout { url: String },
    #[error("{url} answered {code}")]
    Code { url: String, code: u16 },
    #[error("decode the answer of {url}: {source}")]
    Decode {
        url: String,
        #[source]
        source: serde_json::Error,
    },
}

/// The whole of an answer.
pub(super) struct Answer {
    pub(super) url: String,
    pub(super) code: u16,
    pub(super) content_type: String,
    pub(super) etag: Option<HeaderValue>,
    pub(super) body: Bytes,
}

/// A document as a server said it last.
pub(super) struct Document {
    pub(super) content_type: String,
    /// The same pointer means the same content.
    pub(super) value: Arc<Value>,
    etag: Option<HeaderValue>,
}

/// The documents of one server, by their path.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<String, Arc<Document>>>);

/// Asks for a document; what the server says to be what it was is neither sent nor read again (RFC 9110, section 13.1.2).
///
/// # Errors
/// When the server does not answer, with another code than 200, or with something that is no JSON.
pub(super) async fn document(
    backend: &Backend,
    authority: &str,
    path: &str,
    accept: &'static str,
) -> Result<Arc<Document>, FetchError> {
    let before = backend.known.0.lock().get(path).cloned();
    let etag = before.as_ref().and_then(|before| before.etag.as_ref());
    let answer = get(backend, authority, path, accept, etag).await?;
    if let Some(before) = before.as_ref().filter(|_| answer.code == 304) {
        return Ok(before.clone());
    }
    let Answer { url, code, content_type, etag, body } = answer;
    if code != 200 {
        return Err(FetchError::Code { url, code });
    }
    let value: Value = serde_json::from_slice(&body).map_err(|source| FetchError::Decode { url, source })?;
    let same = before.filter(|before| *before.value == value).map(|before| before.value.clone());
    let document = Arc::new(Document { content_type, value: same.unwrap_or_else(|| Arc::new(value)), etag });
    backend.known.0.lock().insert(path.to_owned(), document.clone());
    Ok(document)
}

/// Asks for `path` at `authority`, as the aggregator, whom other servers let do everything.
pub(super) async fn get(
    backend: &Backend,
    authority: &str,
    path: &str,
    accept: &'static str,
    etag: Option<&HeaderValue>,
) -> Result<Answer, FetchError> {
    let url = format!("https://{authority}{path}");
    let connections = backend.connections.as_ref().map_err(|why| FetchError::Tls(why.clone()))?;
    let failed = |why: String| FetchError::Exchange { url: url.clone(), why };
    let mut headers = HeaderMap::new();
    relay::name_user(&mut headers, &aggregator()).map_err(|error| failed(error.to_string()))?;
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    headers.extend(etag.map(|etag| (header::IF_NONE_MATCH, etag.clone())));
    let mut request =
        Request::get(path).header(header::HOST, authority).body(Body::empty()).map_err(|error| failed(error.to_string()))?;
    request.headers_mut().extend(headers);
    let answering = async {
        let response = connections.exchange(authority, request, None).await.map_err(|status| failed(status.message))?;
        let (code, headers) = (response.status().as_u16(), response.headers());
        let (content_type, etag) = (headers.get(header::CONTENT_TYPE).cloned(), headers.get(header::ETAG).cloned());
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| failed(error.to_string()))?;
        let content_type = content_type.and_then(|kind| kind.to_str().map(str::to_owned).ok()).unwrap_or_default();
        Ok::<_, FetchError>(Answer { url: url.clone(), code, content_type, etag, body: body.to_bytes() })
    };
    tokio::time::timeout(TIMEOUT, answering).await.unwrap_or_else(|_| Err(FetchError::Timeout { url: url.clone() }))
}

fn aggregator() -> Identity {
    Identity { username: "system:kube-aggregator".to_owned(), groups: vec!["system:masters".to_owned()], ..Identity::default() }
}
