//! The API of another server for components of this process, which learn of no difference.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Request, Response};
use http_body_util::Limited;
use mizzen_api::{Reason, Status};
use mizzen_client::http::{Parts, Wire};

use super::{Aggregation, Remote, Sent};
use crate::auth::Identity;

/// For the whole of an answer that is no stream.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The largest of those that is read, in bytes.
const MAX_ANSWER: usize = 256 << 20;

/// Requests of one component to one server. They are authorized already.
pub(crate) struct Relayed {
    pub(crate) aggregation: Arc<Aggregation>,
    pub(crate) remote: Arc<Remote>,
    pub(crate) identity: Arc<Identity>,
}

#[async_trait]
impl Wire for Relayed {
    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Parts>, Status> {
        let lasts = request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
        let (sent, request) = (if lasts { Sent::Stream } else { Sent::Request }, request.map(Body::from));
        let unavailable = |why: String| Status::new(Reason::ServiceUnavailable, format!("{}: {why}", self.remote.name));
        if lasts {
            let response = self.aggregation.relay(&self.remote, &self.identity, sent, request).await;
            let failed = |error: axum::Error| Status::new(Reason::ServiceUnavailable, error.to_string());
            return Ok(response.map(|body| body.into_data_stream().map_err(failed).boxed()));
        }
        let whole = async {
            let (head, body) = self.aggregation.relay(&self.remote, &self.identity, sent, request).await.into_parts();
            let body = http_body_util::BodyExt::collect(Limited::new(body, MAX_ANSWER))
                .await
                .map_err(|error| unavailable(error.to_string()))?;
            let bytes = futures::stream::iter([Ok(body.to_bytes())]);
            Ok(Response::from_parts(head, bytes.boxed()))
        };
        tokio::time::timeout(TIMEOUT, whole).await.unwrap_or_else(|_| Err(unavailable("context deadline exceeded".to_owned())))
    }
}
