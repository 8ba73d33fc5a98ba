//! WebSockets that the API server itself opens to a node.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::node_proxy::{NodeProxy, ProxyError};

/// Of exec and attach.
pub(super) const CHANNELS: &str = "v5.channel.k8s.io";
/// Of one forwarded port: `v4.channel.k8s.io`, where either side may also end its data (channel 255).
pub(super) const FORWARD: &str = "portforward.mizzen.dev";
/// Names the channel that ends.
pub(super) const CLOSE: u8 = 255;
const MAX_MESSAGE: usize = 1 << 20;

pub(super) type NodeSocket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

pub(super) enum Opened {
    Socket(Box<NodeSocket>),
    /// What the node answers instead, to be passed on.
    Refused(Response),
}

/// `path` has the query.
///
/// # Errors
/// When the node is not reached.
pub(super) async fn open(proxy: &NodeProxy, node: &str, path: &str, protocol: &str) -> Result<Opened, ProxyError> {
    let request = Request::get("/")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, tokio_tungstenite::tungstenite::handshake::client::generate_key())
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocol)
        .body(Body::empty())
        .map_err(|source| ProxyError::Request { node: node.to_owned(), source })?;
    let answer = proxy.ask(node, path, request).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Opened::Refused(answer.map(Body::new).into_response()));
    }
    let upgraded = hyper::upgrade::on(answer);
    let upgraded = upgraded.await.map_err(|source| ProxyError::Upgrade { node: node.to_owned(), source })?;
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    Ok(Opened::Socket(Box::new(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await)))
}

/// A message of one channel.
pub(super) fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(Bytes::from(bytes))
}

/// The channel and data of a message; `None` for those that carry none.
pub(super) fn channel(message: Message) -> Option<(u8, Bytes)> {
    let Message::Binary(mut data) = message else { return None };
    let channel = *data.first()?;
    Some((channel, data.split_off(1)))
}
