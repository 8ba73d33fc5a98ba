//! `/portForward`: connections to a pod's ports over a WebSocket. Port number `i` of the query has two channels, `2i` for data
//! and `2i + 1` for an error; each begins with the port as a little-endian number. The API server's own protocol can also end
//! a channel's data, by channel 255.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, RawQuery, State as Axum};
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use mizzen_api::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::State;
use super::refusal::refuse;
use crate::shared::Shared;

const V4: &str = "v4.channel.k8s.io";
/// With ends of data; only the API server asks for it.
const HALF_CLOSE: &str = "portforward.mizzen.dev";
const CLOSE: u8 = 255;
/// Channels have numbers of one byte, and 255 means something else.
const MAX_PORTS: usize = 127;
const BUFFER: usize = 32 * 1024;
/// What a client has on the way when the pod has said everything still gets there, as with container engines.
const LINGER: Duration = Duration::from_secs(1);

struct Pod {
    name: String,
    uid: String,
}

/// # Errors
/// The message for the client.
fn ports(query: &str) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        // The pod API says ports, the kubelet's own says port.
        if !matches!(name.as_ref(), "ports" | "port") {
            continue;
        }
        for port in value.split(',') {
            match port.trim().parse::<u16>() {
                Ok(0) => return Err(format!("port {port:?} must be > 0")),
                Ok(port) => ports.push(port),
                Err(_) => return Err(format!("unable to parse {port:?} as a port")),
            }
        }
    }
    match ports.len() {
        0 => Err("query parameter \"port\" is required".into()),
        1..=MAX_PORTS => Ok(ports),
        _ => Err(format!("at most {MAX_PORTS} ports can be forwarded by one request")),
    }
}

pub(super) async fn port_forward(
    Axum(state): Axum<State>,
    Path((namespace, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return refuse(Reason::BadRequest, format!("only WebSocket streams are served ({V4})"));
    };
    let upgrade = upgrade.protocols([HALF_CLOSE, V4]);
    let half_close = upgrade.selected_protocol().is_some_and(|protocol| protocol == HALF_CLOSE);
    // As kubelets do, of who asks for no subprotocol it is assumed that it speaks this one.
    if upgrade.selected_protocol().is_none() && upgrade.requested_protocols().next().is_some() {
        return refuse(Reason::BadRequest, format!("no subprotocol that this node speaks ({V4})"));
    }
    let ports = match ports(query.as_deref().unwrap_or_default()) {
        Ok(ports) => ports,
        Err(message) => return refuse(Reason::BadRequest, message),
    };
    let Some(handle) = state.pods.named(&namespace, &name).await else {
        return refuse(Reason::NotFound, format!("pod {namespace}/{name} is not on this node"));
    };
    let uid = handle.desired.borrow().pod.metadata.uid.clone().unwrap_or_default();
    let pod = Arc::new(Pod { name, uid });
    upgrade.on_upgrade(move |socket| run(socket, state.shared, pod, ports, half_close))
}

/// Copies until every port's connection ended or the client leaves.
async fn run(socket: WebSocket, shared: Arc<Shared>, pod: Arc<Pod>, ports: Vec<u16>, half_close: bool) {
    let (sink, stream) = socket.split();
    let (to_client, queue) = mpsc::channel(8);
    let mut inputs = Vec::with_capacity(ports.len());
    let connections = FuturesUnordered::new();
    for (channel, port) in (0_u8..=254).step_by(2).zip(ports) {
        let (input, from_client) = mpsc::channel(4);
        inputs.push(Some(input));
        let port = Port { port, channel, half_close, to_client: to_client.clone() };
        connections.push(port.serve(&shared, &pod, from_client));
    }
    drop(to_client);
    let ended = connections.for_each(|()| std::future::ready(()));
    tokio::select! {
        ((), ()) = async { tokio::join!(ended, send(sink, queue)) } => {}
        () = receive(stream, inputs, half_close) => {}
    }
}

/// Sends until nobody has anything to say any more, then closes.
async fn send(mut sink: SplitSink<WebSocket, Message>, mut queue: mpsc::Receiver<Message>) {
    while let Some(message) = queue.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
    let _ = sink.send(Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }))).await;
}

/// Ends when the client leaves.
async fn receive(mut stream: SplitStream<WebSocket>, mut inputs: Vec<Option<mpsc::Sender<Bytes>>>, half_close: bool) {
    while let Some(Ok(message)) = stream.next().await {
        let mut data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        let Some(&channel) = data.first() else { continue };
        let data = data.split_off(1);
        match (channel, &*data) {
            (CLOSE, [channel]) if half_close => {
                if let Some(input) = inputs.get_mut(usize::from(channel / 2)) {
                    *input = None;
                }
            }
            (channel, [_, ..]) if channel % 2 == 0 => {
                // A connection that has ended takes no more.
                if let Some(Some(input)) = inputs.get(usize::from(channel / 2)) {
                    let _ = input.send(data).await;
                }
            }
            _ => {}
        }
    }
}

/// One port's side of the socket.
struct Port {
    port: u16,
    /// Of its data; the next is the error's.
    channel: u8,
    half_close: bool,
    to_client: mpsc::Sender<Message>,
}

impl Port {
    async fn serve(self, shared: &Shared, pod: &Pod, from_client: mpsc::Receiver<Bytes>) {
        for channel in [self.channel, self.channel + 1] {
            self.tell(channel, &self.port.to_le_bytes()).await;
        }
        match shared.network.connect(&pod.uid, self.port).await {
            Ok(stream) => self.copy(stream, from_client).await,
            Err(why) => {
                let text = format!("error forwarding port {} to pod {}, uid {}: {why}", self.port, pod.name, pod.uid);
                tracing::debug!("{text}");
                self.tell(self.channel + 1, text.as_bytes()).await;
            }
        }
    }

    /// Until the pod has ended its side. A connection that breaks has ended: clients take an error for the port's.
    async fn copy(&self, mut stream: TcpStream, mut from_client: mpsc::Receiver<Bytes>) {
        let _ = stream.set_nodelay(true);
        let (mut reader, mut writer) = stream.split();
        let input = async move {
            while let Some(data) = from_client.recv().await {
                if writer.write_all(&data).await.is_err() {
                    return;
                }
            }
            let _ = writer.shutdown().await;
        };
        let output = async {
            let mut buffer = vec![0; BUFFER];
            while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                if !self.tell(self.channel, buffer.get(..read).unwrap_or_default()).await {
                    return;
                }
            }
            if self.half_close {
                self.tell(CLOSE, &[self.channel]).await;
            }
        };
        let (mut input, mut output) = (std::pin::pin!(input), std::pin::pin!(output));
        tokio::select! {
            () = &mut output => drop(tokio::time::timeout(LINGER, input).await),
            () = &mut input => output.await,
        }
    }

    async fn tell(&self, channel: u8, data: &[u8]) -> bool {
        let mut bytes = Vec::with_capacity(data.len() + 1);
        bytes.push(channel);
        bytes.extend_from_slice(data);
        self.to_client.send(Message::Binary(Bytes::from(bytes))).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_in_both_dialects_and_checked() {
        assert_eq!(ports("ports=80&ports=81"), Ok(vec![80, 81]));
        assert_eq!(ports("port=80%2C81"), Ok(vec![80, 81]));
        assert_eq!(ports("container=c").expect_err("none"), "query parameter \"port\" is required");
        assert_eq!(ports("port=0").expect_err("zero"), "port \"0\" must be > 0");
        assert_eq!(ports("port=http").expect_err("a name"), "unable to parse \"http\" as a port");
        assert!(ports(&(1..=128).map(|port| format!("port={port}&")).collect::<String>()).is_err());
    }
}
