//! A WebSocket as a stream of bytes: what its binary messages hold, one after the other.

use std::io;

use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, future};
use http::Request;
use mizzen_api::Status;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use super::protocol::TUNNEL;

/// A client's message, at most; the SPDY frames in it have limits of their own.
const MAX_MESSAGE: usize = 1 << 20;

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Upgrades the request, and runs `serve` on its bytes.
///
/// # Errors
/// `BadRequest` when it is no WebSocket.
pub(super) async fn accept<F, S>(request: Request<Body>, serve: S) -> Result<Response, Status>
where
    F: Future<Output = ()> + Send + 'static,
    S: FnOnce(Reader, Writer) -> F + Send + 'static,
{
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let upgrade = upgrade.map_err(|refused| Status::bad_request(format!("unable to upgrade: {refused}")))?;
    let upgrade = upgrade.protocols([TUNNEL]).max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| {
        let (sink, stream) = socket.split();
        let data = stream
            .map(|message| match message {
                Ok(Message::Binary(data)) => Ok(data),
                Ok(Message::Text(text)) => Ok(text.into()),
                Ok(Message::Ping(_) | Message::Pong(_)) => Ok(Bytes::new()),
                Ok(Message::Close(_)) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Err(error) => Err(io::Error::other(error)),
            })
            // An empty part would be read as the end.
            .filter(|part| future::ready(!part.as_ref().is_ok_and(Bytes::is_empty)));
        let sink = sink.sink_map_err(io::Error::other).with(|data: Bytes| future::ok::<_, io::Error>(Message::Binary(data)));
        serve(Box::new(StreamReader::new(data)), Box::new(SinkWriter::new(CopyToBytes::new(sink))))
    }))
}
