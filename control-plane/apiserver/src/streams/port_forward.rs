//! Forwarded ports: each connection of the client's is a pair of SPDY streams, one for data and one for an error, and a
//! WebSocket to the node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::time::{DelayQueue, delay_queue};

use super::Place;
use super::node_socket::{self, CLOSE, FORWARD, NodeSocket, Opened, channel, message};
use super::spdy::{Connection, Input, Output, Received, Stream};
use crate::node_proxy::NodeProxy;

const DATA: u8 = 0;
const ERROR: u8 = 1;
/// How long one stream of a pair waits for the other, as in Kubernetes.
const CREATION: Duration = Duration::from_secs(30);
/// How many streams wait for their other, at most; also those count that the client has given up.
const MAX_WAITING: usize = 512;
/// An error's text, at most.
const MAX_ERROR: usize = 4096;

/// The headers of one stream of a pair.
struct Half {
    request: String,
    port: u16,
    is_error: bool,
}

impl Half {
    /// `None` for a stream that is no part of a forwarded connection.
    fn parse(stream: &Stream) -> Option<Self> {
        let is_error = match stream.headers.get("streamtype")? {
            "error" => true,
            "data" => false,
            _ => return None,
        };
        let port = stream.headers.get("port")?.parse().ok().filter(|port| *port > 0)?;
        let request = match stream.headers.get("requestid") {
            Some(request) => request.to_owned(),
            // Clients without it open the error's stream first, and the data's right after.
            None if is_error => stream.id.to_string(),
            None => stream.id.saturating_sub(2).to_string(),
        };
        Some(Self { request, port, is_error })
    }
}

struct Waiting {
    stream: Stream,
    is_error: bool,
    timeout: delay_queue::Key,
}

/// Serves until the client leaves.
pub(super) async fn run(mut connection: Connection, proxy: NodeProxy, place: Place) {
    let place = Arc::new(place);
    let mut waiting: HashMap<String, Waiting> = HashMap::new();
    let mut timeouts = DelayQueue::new();
    loop {
        let stream = tokio::select! {
            stream = connection.streams.recv() => stream,
            Some(late) = timeouts.next() => {
                // Dropping it resets it.
                waiting.remove(late.get_ref());
                continue;
            }
        };
        let Some(stream) = stream else { return };
        // A stream that is not understood is reset.
        let Some(Half { request, port, is_error }) = Half::parse(&stream) else { continue };
        let Some(other) = waiting.remove(&request) else {
            if waiting.len() >= MAX_WAITING {
                continue;
            }
            let timeout = timeouts.insert(request.clone(), CREATION);
            waiting.insert(request, Waiting { stream, is_error, timeout });
            continue;
        };
        timeouts.remove(&other.timeout);
        let (data, error) = match (is_error, other.is_error) {
            (false, true) => (stream, other.stream),
            (true, false) => (other.stream, stream),
            // Two of one type.
            _ => continue,
        };
        let (proxy, place) = (proxy.clone(), Arc::clone(&place));
        tokio::spawn(async move { forward(&proxy, &place, port, data, error).await });
    }
}

/// One connection of the client's.
async fn forward(proxy: &NodeProxy, place: &Place, port: u16, data: Stream, error: Stream) {
    // The client sends nothing there, and ends it at once.
    let Stream { output: error, input: _from_client, .. } = error;
    let Stream { input, output, .. } = data;
    let opening = async {
        let path = format!("{}?port={port}", place.path);
        match node_socket::open(proxy, &place.node, &path, FORWARD).await {
            Ok(Opened::Socket(socket)) => Ok(*socket),
            Ok(Opened::Refused(answer)) => Err(said(answer).await),
            Err(error) => Err(error.to_string()),
        }
    };
    let opened = tokio::select! {
        opened = opening => opened,
        () = output.reset() => return,
    };
    match opened {
        Ok(socket) => copy(socket, input, output, &error).await,
        Err(why) => {
            let text = format!("error forwarding port {port} to pod {}, uid {}: {why}", place.pod, place.uid);
            error.send(Bytes::from(text)).await;
            output.finish().await;
        }
    }
    error.finish().await;
}

/// The message of a node's refusal.
async fn said(answer: axum::response::Response) -> String {
    let code = answer.status();
    let body = http_body_util::Limited::new(answer.into_body(), MAX_ERROR).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    status["message"].as_str().map_or_else(|| format!("the node answered {code}"), str::to_owned)
}

/// Until both sides ended, or either left.
async fn copy(socket: NodeSocket, mut input: Input, output: Output, error: &Output) {
    let (mut sink, mut from_node) = socket.split();
    let to_node = async {
        loop {
            let (frame, is_last) = match input.receive().await {
                Received::Data(data) => (message(DATA, &data), false),
                Received::End => (message(CLOSE, &[DATA]), true),
                // Ends both ways.
                Received::Reset => return,
            };
            if sink.send(frame).await.is_err() || is_last {
                // The node's side may go on.
                return std::future::pending().await;
            }
        }
    };
    let mut output = Some(output);
    let from_node = async {
        // Each channel begins with its port's number.
        let mut is_begun = [false; 2];
        while let Some(Ok(message)) = from_node.next().await {
            if matches!(message, Message::Close(_)) {
                break;
            }
            let Some((channel, data)) = channel(message) else { continue };
            if let Some(is_begun) = is_begun.get_mut(usize::from(channel))
                && !std::mem::replace(is_begun, true)
            {
                continue;
            }
            let is_heard = match channel {
                DATA => match &output {
                    Some(output) => output.send(data).await,
                    None => true,
                },
                ERROR => error.send(data).await,
                CLOSE => {
                    if let Some(output) = output.take() {
                        output.finish().await;
                    }
                    true
                }
                _ => true,
            };
            if !is_heard {
                return;
            }
        }
    };
    tokio::select! {
        // A reset: what is left of the streams is reset as well when it is dropped.
        () = to_node => return,
        () = from_node => {}
    }
    if let Some(output) = output {
        output.finish().await;
    }
}
