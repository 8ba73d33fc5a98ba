//! What the server itself asks of other API servers: whether they are there, and what they serve.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Limited};
use mizzen_api::Status;

use super::{Remote, relay};
use crate::auth::Identity;
use crate::proxy;

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
    pub(super) body: Bytes,
}

impl Answer {
    /// # Errors
    /// When the server answered with another code than 200, or something that is no JSON.
    pub(super) fn json(&self) -> Result<serde_json::Value, FetchError> {
        if self.code != 200 {
            return Err(FetchError::Code { url: self.url.clone(), code: self.code });
        }
        serde_json::from_slice(&self.body).map_err(|source| FetchError::Decode { url: self.url.clone(), source })
    }
}

/// Asks for `path` at `authority`, as the aggregator, whom other servers let do everything.
pub(super) async fn get(remote: &Remote, authority: &str, path: &str, accept: &'static str) -> Result<Answer, FetchError> {
    let url = format!("https://{authority}{path}");
    let tls = remote.tls.as_ref().map_err(|why| FetchError::Tls(why.clone()))?;
    let failed = |why: String| FetchError::Exchange { url: url.clone(), why };
    let mut headers = HeaderMap::new();
    relay::name_user(&mut headers, &aggregator()).map_err(|error| failed(error.to_string()))?;
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    let mut request =
        Request::get(path).header(header::HOST, authority).body(Body::empty()).map_err(|error| failed(error.to_string()))?;
    request.headers_mut().extend(headers);
    let answering = async {
        let response = proxy::exchange(authority, Some(tls), request, None).await.map_err(|status| failed(status.message))?;
        let (code, content_type) = (response.status().as_u16(), response.headers().get(header::CONTENT_TYPE).cloned());
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| failed(error.to_string()))?;
        let content_type = content_type.and_then(|kind| kind.to_str().map(str::to_owned).ok()).unwrap_or_default();
        Ok::<_, FetchError>(Answer { url: url.clone(), code, content_type, body: body.to_bytes() })
    };
    tokio::time::timeout(TIMEOUT, answering).await.unwrap_or_else(|_| Err(FetchError::Timeout { url: url.clone() }))
}

fn aggregator() -> Identity {
    Identity { username: "system:kube-aggregator".to_owned(), groups: vec!["system:masters".to_owned()], ..Identity::default() }
}
