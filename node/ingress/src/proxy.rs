//! What becomes of one request: its rule, its backend, its answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mizzen_client::relay;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::body::{Answer, Outgoing};
use crate::certificates::Certificates;
use crate::forward::{Refusal, forward};
use crate::headers::{self, Client};
use crate::path;
use crate::table::Table;

/// What is known of a rule when a request comes.
pub(crate) struct Route {
    /// `None` for what cannot be led to.
    pub(crate) backend: Option<Arc<Backend>>,
    pub(crate) ssl_redirect: bool,
    pub(crate) timeout: Duration,
}

/// The rules and certificates that count now. Requests under way keep those they came by.
pub(crate) struct Proxy {
    pub(crate) routes: ArcSwap<Table<Arc<Route>>>,
    pub(crate) certificates: Arc<Certificates>,
    /// Where clients that are sent to TLS go.
    https_port: u16,
    /// Ends what goes on in other protocols.
    cancel: CancellationToken,
}

impl Proxy {
    pub(crate) fn new(https_port: u16, cancel: CancellationToken) -> Self {
        Self { routes: ArcSwap::default(), certificates: Arc::default(), https_port, cancel }
    }

    pub(crate) async fn handle(&self, client: &Client, request: Request<Incoming>) -> Response<Answer> {
        let mut request = Outgoing::of(request);
        if request.method() == Method::CONNECT {
            return said(StatusCode::METHOD_NOT_ALLOWED, "this is no forward proxy");
        }
        let Ok(host) = host_of(&request) else {
            return said(StatusCode::BAD_REQUEST, "the request does not say which host it is for");
        };
        let route = {
            let routes = self.routes.load();
            let name = host.as_ref().map(Authority::host).map(name).unwrap_or_default();
            routes.find(&name, &path::normal(request.uri().path())).cloned()
        };
        let Some(route) = route else {
            return said(StatusCode::NOT_FOUND, "no ingress has a rule for this host and path");
        };
        if route.ssl_redirect && !client.is_tls {
            return self.to_tls(host.as_ref(), request.uri());
        }
        let Some(backend) = &route.backend else {
            return said(StatusCode::SERVICE_UNAVAILABLE, "the ingress leads to what is no service");
        };
        let asked = hyper::upgrade::on(&mut request);
        let is_upgrade = request.version() == Version::HTTP_11 && headers::wanted_protocol(request.headers()).is_some();
        let outgoing = outgoing(client, host.as_ref(), request);
        match forward(backend, outgoing, route.timeout, is_upgrade).await {
            Ok((mut response, switched)) => {
                headers::to_client(response.headers_mut(), switched.is_some());
                *response.version_mut() = Version::HTTP_11;
                if let Some(switched) = switched {
                    tokio::spawn(splice(asked, switched, self.cancel.clone()));
                }
                response
            }
            Err(refusal) => refused(&refusal),
        }
    }

    fn to_tls(&self, host: Option<&Authority>, uri: &Uri) -> Response<Answer> {
        let Some(host) = host else {
            return said(StatusCode::BAD_REQUEST, "the request does not say which host it is for");
        };
        let port = if self.https_port == 443 { String::new() } else { format!(":{}", self.https_port) };
        let asked = uri.path_and_query().map_or("/", |asked| asked.as_str());
        let location = HeaderValue::try_from(format!("https://{}{port}{asked}", host.host()));
        let mut response = said(StatusCode::PERMANENT_REDIRECT, "this is served over TLS");
        if let Ok(location) = location {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

/// Whom the request is for: what its URI says goes before the header (RFC 9112, section 3.2.2). `None` for a request of
/// HTTP/1.0 that does not say.
fn host_of(request: &Request<Outgoing>) -> Result<Option<Authority>, ()> {
    // Nobody is asked for as somebody.
    let nameless = |authority: Authority| if authority.as_str().contains('@') { Err(()) } else { Ok(Some(authority)) };
    if let Some(authority) = request.uri().authority() {
        return nameless(authority.clone());
    }
    let mut said = request.headers().get_all(header::HOST).iter();
    match (said.next(), said.next()) {
        (None, _) if request.version() == Version::HTTP_10 => Ok(None),
        (Some(host), None) => nameless(Authority::try_from(host.as_bytes()).map_err(|_| ())?),
        _ => Err(()),
    }
}

/// A host as rules have it.
fn name(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) }
}

/// What a client asked, as it goes to a backend: by path, and with the host that the client said.
fn outgoing(client: &Client, host: Option<&Authority>, request: Request<Outgoing>) -> Request<Outgoing> {
    let (mut parts, body) = request.into_parts();
    let said = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    headers::to_backend(&mut parts.headers, client, said.as_ref());
    parts.headers.insert(header::HOST, said.unwrap_or_else(|| HeaderValue::from_static("")));
    let mut outgoing = Request::new(body);
    *outgoing.method_mut() = parts.method;
    *outgoing.uri_mut() = match parts.uri.authority() {
        None => parts.uri,
        Some(_) => parts.uri.into_parts().path_and_query.map_or_else(Uri::default, Uri::from),
    };
    *outgoing.headers_mut() = parts.headers;
    outgoing
}

fn refused(refusal: &Refusal) -> Response<Answer> {
    let status = refusal.status();
    match refusal {
        Refusal::NoEndpoints => said(status, "no endpoint of the service is ready"),
        Refusal::BadGateway(why) => {
            tracing::debug!(why, "a backend was not reached");
            said(status, "the service was not reached")
        }
        Refusal::TimedOut(why) => {
            tracing::debug!(why, "a backend is late");
            said(status, "the service did not answer in time")
        }
    }
}

/// The proxy's own answer.
pub(crate) fn said(status: StatusCode, why: &'static str) -> Response<Answer> {
    let text = format!("{status}: {why}\n");
    let mut response = Response::new(Answer::Whole(Some(Bytes::from(text))));
    *response.status_mut() = status;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    *response.headers_mut() = headers;
    response
}

/// Lets what follows an answer that switches protocols go both ways.
async fn splice(client: OnUpgrade, backend: OnUpgrade, cancel: CancellationToken) {
    let both = async {
        let (client, backend) = tokio::try_join!(client, backend).map_err(std::io::Error::other)?;
        relay(TokioIo::new(client), TokioIo::new(backend)).await
    };
    let ended = tokio::select! {
        () = cancel.cancelled() => return,
        ended = both => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an upgraded connection ended");
    }
}
