//! Streams of clients that speak SPDY/3.1, upgraded to or tunnelled through a WebSocket, translated to the WebSocket
//! channels of the node API.

mod node_socket;
mod port_forward;
mod protocol;
mod remote_command;
mod spdy;
mod tunnel;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use mizzen_api::{Reason, Status};

pub(crate) use self::protocol::{Spoken, spoken};

use self::node_socket::Opened;
use self::protocol::VERSION;
use crate::node_proxy::NodeProxy;

/// Where a pod's streams are.
pub(crate) struct Place {
    pub(crate) node: String,
    /// Of the node API, without a query.
    pub(crate) path: String,
    pub(crate) pod: String,
    pub(crate) uid: String,
}

/// Answers `Upgrade: SPDY/3.1` for `exec`, `attach` and `portforward`.
///
/// # Errors
/// As Kubernetes answers before a connection is upgraded.
pub(crate) async fn upgrade(
    proxy: &NodeProxy,
    place: Place,
    subresource: &str,
    mut request: Request<Body>,
) -> Result<Response, Status> {
    let is_forward = subresource == "portforward";
    let served = if is_forward { protocol::PORT_FORWARD } else { protocol::REMOTE_COMMAND };
    let protocol = match protocol::negotiate(request.headers(), served) {
        Ok(protocol) => protocol,
        Err(refused) => return Ok(refuse(&refused, served)),
    };
    let client = hyper::upgrade::on(&mut request);
    if is_forward {
        proxy.address(&place.node).map_err(|error| error.status())?;
        let proxy = proxy.clone();
        tokio::spawn(async move {
            match client.await {
                Ok(client) => port_forward::run(connection(client), proxy, place).await,
                Err(error) => tracing::info!(%error, "connection was not upgraded"),
            }
        });
        return switching(protocol);
    }
    let query = request.uri().query().unwrap_or_default();
    let wanted = remote_command::Wanted::parse(query, protocol);
    let opened = node_socket::open(proxy, &place.node, &format!("{}?{query}", place.path), node_socket::CHANNELS).await;
    let socket = match opened.map_err(|error| error.status())? {
        Opened::Socket(socket) => socket,
        Opened::Refused(answer) => return Ok(answer),
    };
    tokio::spawn(async move {
        match client.await {
            Ok(client) => remote_command::run(connection(client), *socket, wanted).await,
            Err(error) => tracing::info!(%error, "connection was not upgraded"),
        }
    });
    switching(protocol)
}

/// Answers a WebSocket that carries the bytes of a SPDY connection, as kubectl forwards ports.
///
/// # Errors
/// As Kubernetes answers before a connection is upgraded.
pub(crate) async fn tunnel(proxy: &NodeProxy, place: Place, request: Request<Body>) -> Result<Response, Status> {
    proxy.address(&place.node).map_err(|error| error.status())?;
    let proxy = proxy.clone();
    tunnel::accept(request, move |reader, writer| port_forward::run(spdy::serve(reader, writer), proxy, place)).await
}

fn connection(client: hyper::upgrade::Upgraded) -> spdy::Connection {
    let (reader, writer) = tokio::io::split(TokioIo::new(client));
    spdy::serve(reader, writer)
}

fn switching(protocol: &'static str) -> Result<Response, Status> {
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, protocol::SPDY)
        .header(VERSION, protocol)
        .body(Body::empty())
        .map_err(Status::internal)
}

/// 403 with what is served, or 400 when the client asked for nothing.
fn refuse(refused: &protocol::Refused, served: &[&'static str]) -> Response {
    let (code, reason) = match refused {
        protocol::Refused::Missing => (StatusCode::BAD_REQUEST, Reason::BadRequest),
        protocol::Refused::Unknown { .. } => (StatusCode::FORBIDDEN, Reason::Forbidden),
    };
    let mut headers = HeaderMap::new();
    for protocol in served {
        headers.append("x-accepted-stream-protocol-versions", http::HeaderValue::from_static(protocol));
    }
    (code, headers, axum::Json(Status::new(reason, refused.to_string()).to_json())).into_response()
}
