//! One request that goes on to somebody else's server, and its answer.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mizzen_api::{Reason, Status};
use mizzen_client::relay;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Upstream;
use super::links::Links;
use super::trust;
use crate::carried::Carried;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// Bytes of a page whose links are rewritten, at most; a longer one goes through as it is.
const MAX_PAGE: usize = 8 << 20;

/// Of one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
];

pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

pub(super) fn unreachable(why: impl std::fmt::Display) -> Status {
    Status::new(Reason::ServiceUnavailable, format!("error trying to reach service: {why}"))
}

/// `path` begins with a slash; the query is the request's own. `tunnelled` leads to the server already; without it, it is
/// connected to.
///
/// # Errors
/// `ServiceUnavailable` when the server is not reached or does not answer.
pub(super) async fn forward(
    upstream: &Upstream,
    tunnelled: Option<Carried>,
    path: &str,
    links: &Links,
    mut request: Request<Body>,
) -> Result<Response, Status> {
    let client_side = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let outgoing = outgoing(upstream, path, links, request).map_err(|error| Status::bad_request(error.to_string()))?;
    // TLS to pods and services, which have no certificates that anybody here could check: as Kubernetes does.
    let tls = match upstream.https {
        true => Some(Tls { config: trust::anybody(None).map_err(unreachable)?, name: None }),
        false => None,
    };
    let wire = match tunnelled {
        Some(tunnelled) => secured(&upstream.authority, tunnelled, tls.as_ref()).await?,
        None => connect(&upstream.authority, tls.as_ref()).await?,
    };
    let response = exchange(wire, outgoing, client_side).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    incoming(response, links).await
}

/// How a server is spoken to over TLS.
pub(crate) struct Tls {
    pub(crate) config: Arc<rustls::ClientConfig>,
    /// The name that its certificate is for; without one, the address that was connected to.
    pub(crate) name: Option<ServerName<'static>>,
}

/// Sends one request over a connection of its own. When the server switches protocols, what
/// follows goes both ways between it and `client_side`.
///
/// # Errors
/// `ServiceUnavailable` when the server does not answer.
async fn exchange(
    wire: Box<dyn Wire>,
    outgoing: Request<Body>,
    client_side: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Response, Status> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(unreachable)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended");
        }
    });
    let mut response = sender.send_request(outgoing).await.map_err(unreachable)?;
    switch(&mut response, client_side);
    Ok(response.map(Body::new))
}

/// Lets what follows an answer that switches protocols go both ways.
pub(super) fn switch<B>(response: &mut http::Response<B>, client_side: Option<hyper::upgrade::OnUpgrade>) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client_side) = client_side
    {
        let server_side = hyper::upgrade::on(response);
        tokio::spawn(splice(client_side, server_side));
    }
}

/// What leads to `HOST:PORT` by a tunnel, with TLS where that is asked for.
async fn secured(authority: &str, tunnelled: Carried, tls: Option<&Tls>) -> Result<Box<dyn Wire>, Status> {
    let stream = TokioIo::new(tunnelled);
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let address: SocketAddr = authority.parse().map_err(unreachable)?;
    let name = tls.name.clone().unwrap_or_else(|| ServerName::from(address.ip()));
    let connecting = TlsConnector::from(tls.config.clone()).connect(name, stream);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    let connected = connected.map_err(|_| unreachable(format!("tls {authority}: i/o timeout")))?;
    Ok(Box::new(connected.map_err(|error| unreachable(format!("tls {authority}: {error}")))?))
}

/// A connection to `HOST:PORT`.
///
/// # Errors
/// `ServiceUnavailable` when there is none within 30 seconds.
pub(super) async fn connect(authority: &str, tls: Option<&Tls>) -> Result<Box<dyn Wire>, Status> {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, dial(authority, tls));
    connecting.await.unwrap_or_else(|_| Err(unreachable(format!("dial tcp {authority}: i/o timeout"))))
}

async fn dial(authority: &str, tls: Option<&Tls>) -> Result<Box<dyn Wire>, Status> {
    let failed = |error: std::io::Error| unreachable(format!("dial tcp {authority}: {}", mizzen_api::why_not_connected(&error)));
    let stream = TcpStream::connect(authority).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = match &tls.name {
        Some(name) => name.clone(),
        None => ServerName::from(stream.peer_addr().map_err(failed)?.ip()),
    };
    Ok(Box::new(TlsConnector::from(tls.config.clone()).connect(name, stream).await.map_err(failed)?))
}

/// The request without what is of the client's connection, or lets it in here.
fn outgoing(upstream: &Upstream, path: &str, links: &Links, request: Request<Body>) -> Result<Request<Body>, http::Error> {
    let (mut parts, body) = request.into_parts();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let uri: Uri = format!("{path}{query}").parse()?;
    let headers = &mut parts.headers;
    keep_what_goes_on(headers);
    // What comes compressed has links that nobody could rewrite.
    headers.remove(header::ACCEPT_ENCODING);
    let host = if links.host.is_empty() { &upstream.authority } else { &links.host };
    headers.insert(header::HOST, host.parse()?);
    headers.insert("x-forwarded-uri", format!("{}{path}", links.prefix).parse()?);
    headers.insert("x-forwarded-host", host.parse()?);
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    let mut outgoing = Request::builder().method(parts.method).uri(uri).body(body)?;
    *outgoing.headers_mut() = parts.headers;
    Ok(outgoing)
}

/// Takes off what is of the client's connection, or lets it in here. That it wants another protocol goes on.
pub(crate) fn keep_what_goes_on(headers: &mut HeaderMap) {
    let upgrade = headers.get(header::UPGRADE).cloned();
    strip(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
    headers.remove(header::AUTHORIZATION);
    // Whom the client speaks for here is nobody there.
    let impersonation: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    impersonation.iter().for_each(|name| drop(headers.remove(name)));
}

/// Takes off what is of one connection only.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&listed).chain([&header::UPGRADE]) {
        headers.remove(name);
    }
}

async fn incoming(mut response: Response, links: &Links) -> Result<Response, Status> {
    let headers = response.headers_mut();
    strip(headers);
    // Who may read what is the API server's to say, not the pod's.
    let foreign: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    foreign.iter().for_each(|name| drop(headers.remove(name)));
    if let Some(location) = headers.get(header::LOCATION).and_then(|location| location.to_str().ok())
        && let Ok(rewritten) = links.rewritten(location).parse()
    {
        headers.insert(header::LOCATION, rewritten);
    }
    let is_page = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_page || headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let mut page = BytesMut::new();
    let mut stream = body.into_data_stream();
    while let Some(part) = stream.next().await {
        page.extend_from_slice(&part.map_err(unreachable)?);
        if page.len() > MAX_PAGE {
            let begun = futures::stream::once(std::future::ready(Ok::<Bytes, axum::Error>(page.freeze())));
            return Ok(Response::from_parts(parts, Body::from_stream(begun.chain(stream))));
        }
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(links.page(&page))))
}

/// Leads an upgraded connection into another one, until both have ended or one breaks.
pub(crate) async fn splice(client: hyper::upgrade::OnUpgrade, server: hyper::upgrade::OnUpgrade) {
    match tokio::try_join!(client, server) {
        Ok((client, server)) => {
            if let Err(error) = relay(TokioIo::new(client), TokioIo::new(server)).await {
                tracing::debug!(%error, "a stream ended");
            }
        }
        Err(error) => tracing::info!(%error, "connection was not upgraded"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers one request with `answer`; the request comes back from the task.
    async fn server(answer: &'static str) -> (Upstream, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let authority = listener.local_addr().expect("an address").to_string();
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut part = [0; 1024];
                let read = stream.read(&mut part).await.expect("reads");
                request.extend_from_slice(&part[..read]);
            }
            stream.write_all(answer.as_bytes()).await.expect("answers");
            String::from_utf8(request).expect("is text")
        });
        (Upstream { authority, https: false, node: String::new() }, heard)
    }

    fn links() -> Links {
        Links { prefix: "/proxy".to_owned(), host: "api:6443".to_owned() }
    }

    #[tokio::test]
    async fn a_request_goes_on_without_its_credentials_and_its_answers_links_lead_back() {
        let answer = "HTTP/1.1 302 Found\r\nLocation: /login\r\nConnection: close, X-Own\r\nX-Own: 1\r\nAccess-Control-Allow-Origin: *\r\n\
            Content-Type: text/html\r\nContent-Length: 22\r\n\r\n<a href=\"/x\">there</a>";
        let (upstream, heard) = server(answer).await;
        let request = Request::get("/proxy/a?b=c")
            .header("authorization", "Bearer secret")
            .header("accept-encoding", "gzip")
            .header("x-mine", "2")
            .body(Body::empty())
            .expect("a request");
        let response = forward(&upstream, None, "/a", &links(), request).await.expect("is answered");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["location"]),
            (302, &HeaderValue::from_static("/proxy/login"))
        );
        for gone in ["connection", "x-own", "access-control-allow-origin", "content-length"] {
            assert!(!response.headers().contains_key(gone), "{gone}");
        }
        let body = axum::body::to_bytes(response.into_body(), 1024).await.expect("a body");
        assert_eq!(body, "<a href=\"/proxy/x\">there</a>");
        let heard = heard.await.expect("ends").to_lowercase();
        assert!(heard.starts_with("get /a?b=c http/1.1\r\n"), "{heard}");
        assert!(heard.contains("x-mine: 2") && heard.contains("host: api:6443") && heard.contains("x-forwarded-uri: /proxy/a"));
        assert!(!heard.contains("secret") && !heard.contains("gzip"), "{heard}");
    }

    #[tokio::test]
    async fn who_is_not_reached_is_unavailable() {
        // Bound and not listening: nobody else gets the port meanwhile.
        let taken = tokio::net::TcpSocket::new_v4().expect("a socket");
        taken.bind(([127, 0, 0, 1], 0).into()).expect("binds");
        let authority = taken.local_addr().expect("an address").to_string();
        let request = Request::get("/").body(Body::empty()).expect("a request");
        let upstream = Upstream { authority, https: false, node: String::new() };
        let refused = forward(&upstream, None, "/", &links(), request).await.expect_err("nobody listens");
        assert_eq!(refused.code, 503);
        assert!(refused.message.starts_with("error trying to reach service: dial tcp 127.0.0.1:"), "{}", refused.message);
    }
}
