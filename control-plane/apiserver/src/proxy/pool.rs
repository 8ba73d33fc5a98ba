//! Connections over TLS to those who are asked again and again, kept open from one request to the next.

use std::error::Error as _;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Method, Request, Uri};
use http_body::Body as _;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mizzen_api::Status;
use tower::Service;

use super::forward::{Tls, Wire, connect, switch, unreachable};

/// What a connection may go without a request, and how many of one server may, as in Kubernetes.
const IDLE: Duration = Duration::from_secs(90);
const IDLE_PER_SERVER: usize = 25;

/// Connections that are spoken to in one way. Dropped, those that nobody uses close.
pub(crate) struct Connections(Client<Connector, Body>);

impl Connections {
    pub(crate) fn new(tls: Tls) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(IDLE).pool_max_idle_per_host(IDLE_PER_SERVER).pool_timer(TokioTimer::new());
        Self(builder.build(Connector(Arc::new(tls))))
    }

    /// Sends one request, of a path only, to `authority` (`HOST:PORT`). When the server switches protocols, what follows goes
    /// both ways between it and `client_side`.
    ///
    /// # Errors
    /// `ServiceUnavailable` when the server is not reached or does not answer.
    pub(crate) async fn exchange(
        &self,
        authority: &str,
        mut outgoing: Request<Body>,
        client_side: Option<hyper::upgrade::OnUpgrade>,
    ) -> Result<Response, Status> {
        let path = outgoing.uri().path_and_query().map_or("/", |path| path.as_str());
        *outgoing.uri_mut() = format!("https://{authority}{path}").parse().map_err(unreachable)?;
        let again = repeated(&outgoing);
        let mut response = match self.0.request(outgoing).await {
            Ok(response) => response,
            // It may be that the server closed a connection at the moment when it was used again.
            Err(error) => match again.filter(|_| !error.is_connect()) {
                Some(again) => self.0.request(again).await.map_err(failed)?,
                None => return Err(failed(error)),
            },
        };
        switch(&mut response, client_side);
        Ok(response.map(Body::new))
    }
}

/// The same request once more, if it changes nothing.
fn repeated(request: &Request<Body>) -> Option<Request<Body>> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) && request.body().is_end_stream();
    is_safe.then(|| {
        let mut again = Request::new(Body::empty());
        (*again.method_mut(), *again.uri_mut()) = (request.method().clone(), request.uri().clone());
        *again.headers_mut() = request.headers().clone();
        again
    })
}

fn failed(error: Error) -> Status {
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(status) = source.downcast_ref::<Status>() {
            return status.clone();
        }
        why = source.to_string();
        cause = source.source();
    }
    unreachable(why)
}

#[derive(Clone)]
struct Connector(Arc<Tls>);

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let tls = self.0.clone();
        async move {
            let authority = server.authority().map(|authority| authority.as_str()).unwrap_or_default();
            connect(authority, Some(&tls)).await.map(TokioIo::new)
        }
        .boxed()
    }
}

impl Connection for Box<dyn Wire> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
