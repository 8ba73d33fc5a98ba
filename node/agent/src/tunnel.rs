//! The connection that the node holds open to the server, and by which the server asks it: a node behind NAT is reached by
//! nobody (docs/decisions/0042-tunnels-of-nodes.md).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mizzen_api::tunnel::{PROTOCOL, REFUSAL, path};
use mizzen_client::relay;
use mizzen_network::Network;
use mizzen_reconcile::Backoff;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::node_api;
use crate::shared::Shared;

const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
/// From the first packet to a tunnel that is up.
const DIAL: Duration = Duration::from_secs(15);
/// The server waits a little longer.
const DIAL_POD: Duration = Duration::from_secs(4);
/// A server that does not answer a ping within as long again is gone, though no packet says so. It also keeps what is between
/// from forgetting the connection.
const PING: Duration = Duration::from_secs(10);
/// Connections through the tunnel at once: one for each log that is followed, each shell.
const STREAMS: u32 = 1000;

/// Where a tunnel leads, and how.
pub struct Tunnel {
    /// `https://HOST[:PORT]`.
    pub server: String,
    /// The node's client certificate and whom it trusts; no ALPN, or `http/1.1`. When it changes, the tunnel is opened anew.
    pub tls: watch::Receiver<Arc<rustls::ClientConfig>>,
}

#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{server:?} is no URL of a server")]
    Url { server: String },
    #[error("the server's name {host:?}: {source}")]
    Name {
        host: String,
        #[source]
        source: InvalidDnsNameError,
    },
    #[error("connect to {server}: {source}")]
    Connect {
        server: String,
        #[source]
        source: std::io::Error,
    },
    #[error("no tunnel to {server} in {DIAL:?}")]
    Timeout { server: String },
    #[error("ask {server} for a tunnel: {source}")]
    Http {
        server: String,
        #[source]
        source: hyper::Error,
    },
    #[error("{server} gives no tunnel: {status}")]
    Refused { server: String, status: StatusCode },
}

/// Holds the tunnel open until cancelled; without one, there is nothing to do.
pub(crate) async fn run(tunnel: Option<Tunnel>, shared: Arc<Shared>, router: Router, cancel: CancellationToken) {
    let node = shared.node_name.clone();
    let Some(mut tunnel) = tunnel else { return std::future::pending().await };
    let (mut failures, mut said) = (0, None);
    loop {
        let tls = tunnel.tls.borrow_and_update().clone();
        let dialled = tokio::time::timeout(DIAL, dial(&tunnel.server, tls, &node)).await;
        match dialled.unwrap_or_else(|_| Err(DialError::Timeout { server: tunnel.server.clone() })) {
            Ok(connection) => {
                (failures, said) = (0, None);
                if let Held::Renewed = hold(connection, &mut tunnel.tls, (&router, &shared.network), &cancel).await {
                    continue;
                }
            }
            // That the server is away is told by the lease; that it refuses, nobody else would say.
            Err(DialError::Refused { server, status }) if said != Some(status) => {
                tracing::warn!(server, %status, "the server gives this node no tunnel; it reaches the node only by its address");
                said = Some(status);
            }
            Err(error) => tracing::debug!(%error, "no tunnel"),
        }
        tokio::time::sleep(RETRY.delay(failures)).await;
        failures = failures.saturating_add(1);
    }
}

async fn dial(server: &str, tls: Arc<rustls::ClientConfig>, node: &str) -> Result<Upgraded, DialError> {
    let url: Uri = server.parse().map_err(|_| DialError::Url { server: server.to_owned() })?;
    let authority = url.authority().ok_or_else(|| DialError::Url { server: server.to_owned() })?;
    let host = authority.host().trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|source| DialError::Name { host: host.to_owned(), source })?;
    let failed = |source| DialError::Connect { server: server.to_owned(), source };
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(failed)?;
    let failed = |source| DialError::Http { server: server.to_owned(), source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "the connection of a tunnel ended");
        }
    });
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path(node).parse().map_err(|_| DialError::Url { server: server.to_owned() })?;
    let headers = request.headers_mut();
    if let Ok(host) = authority.as_str().parse() {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static(PROTOCOL));
    let response = sender.send_request(request).await.map_err(failed)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(DialError::Refused { server: server.to_owned(), status: response.status() });
    }
    hyper::upgrade::on(response).await.map_err(failed)
}

/// Connects to a port of one of the node's own pods.
async fn dial_pod(network: &Network, pod: SocketAddr) -> Result<TcpStream, String> {
    if !network.has_pod_at(pod.ip()) {
        return Err(format!("dial tcp {pod}: no pod of this node has the address"));
    }
    let failed = |why: String| format!("dial tcp {pod}: {why}");
    let dialled = tokio::time::timeout(DIAL_POD, TcpStream::connect(pod)).await;
    dialled.map_err(|_| failed("i/o timeout".to_owned()))?.map_err(|error| failed(mizzen_api::why_not_connected(&error)))
}

/// How a tunnel ended.
enum Held {
    Broken,
    /// There is another certificate; what goes through the old tunnel still ends in its own time.
    Renewed,
}

async fn hold(
    connection: Upgraded,
    tls: &mut watch::Receiver<Arc<rustls::ClientConfig>>,
    (router, network): (&Router, &Arc<Network>),
    cancel: &CancellationToken,
) -> Held {
    let (router, network, token) = (router.clone(), network.clone(), cancel.clone());
    let service = service_fn(move |request| answer(request, router.clone(), network.clone(), token.clone()));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING).max_concurrent_streams(STREAMS);
    let mut serving = Box::pin(builder.serve_connection(connection, service));
    let renewed = async {
        if tls.changed().await.is_err() {
            // Nobody renews it.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = serving.as_mut() => {
            tracing::debug!(?ended, "the tunnel broke");
            Held::Broken
        }
        () = renewed => {
            serving.as_mut().graceful_shutdown();
            let cancel = cancel.clone();
            tokio::spawn(async move { cancel.run_until_cancelled(serving).await.map(drop) });
            Held::Renewed
        }
    }
}

/// A `CONNECT` is a connection to the node's API, or to a pod. Nobody but the server is at the other end, so that no name is
/// asked for.
async fn answer(
    mut request: Request<Incoming>,
    router: Router,
    network: Arc<Network>,
    cancel: CancellationToken,
) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::empty());
    if request.method() != Method::CONNECT {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return Ok(response);
    }
    let pod = request.uri().authority().and_then(|to| to.as_str().parse::<SocketAddr>().ok());
    let pod = match pod {
        Some(pod) => match dial_pod(&network, pod).await {
            Ok(stream) => Some(stream),
            Err(why) => {
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                response.headers_mut().extend(why.parse().ok().map(|why| (HeaderName::from_static(REFUSAL), why)));
                return Ok(response);
            }
        },
        None => None,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(cancel.run_until_cancelled_owned(async move {
        match upgrade.await {
            Ok(connection) => match pod {
                None => node_api::converse(connection, router).await,
                Some(stream) => {
                    let ended = relay(TokioIo::new(connection), stream).await;
                    tracing::debug!(?ended, "a connection to a pod through the tunnel ended");
                }
            },
            Err(error) => tracing::debug!(%error, "a connection through the tunnel was not opened"),
        }
    }));
    Ok(response)
}
