//! exec and attach: SPDY streams to a node's channels and back. Streams are told apart by their `streamtype`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::node_socket::{CLOSE, NodeSocket, channel, message};
use super::protocol::{V3, V4};
use super::spdy::{Connection, Input, Output, Received, Stream};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// How long a client may take to open the streams it asked for, as in Kubernetes.
const CREATION: Duration = Duration::from_secs(30);
/// A terminal's size takes some thirty bytes.
const MAX_SIZE: usize = 1024;

/// Which streams the client will open, besides the one for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    resize: bool,
    /// Errors are a `v1.Status`; before version 4, a text.
    has_status: bool,
}

impl Wanted {
    pub(super) fn parse(query: &str, protocol: &str) -> Self {
        let pairs = || query.split('&').filter_map(|pair| pair.split_once('='));
        let flag = |name| pairs().any(|(key, value)| key == name && matches!(value, "1" | "true" | "True"));
        let tty = flag("tty");
        Self {
            stdin: flag("stdin"),
            stdout: flag("stdout"),
            stderr: flag("stderr") && !tty,
            resize: tty && (protocol == V4 || protocol == V3),
            has_status: protocol == V4,
        }
    }
}

#[derive(Default)]
struct Streams {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Streams {
    fn has(&self, wanted: Wanted) -> bool {
        self.error.is_some()
            && (self.stdin.is_some() || !wanted.stdin)
            && (self.stdout.is_some() || !wanted.stdout)
            && (self.stderr.is_some() || !wanted.stderr)
            && (self.resize.is_some() || !wanted.resize)
    }

    /// A stream of a type that nobody knows, or the second of one, is dropped, which resets it.
    fn take(&mut self, stream: Stream) {
        let place = match stream.headers.get("streamtype") {
            Some("error") => &mut self.error,
            Some("stdin") => &mut self.stdin,
            Some("stdout") => &mut self.stdout,
            Some("stderr") => &mut self.stderr,
            Some("resize") => &mut self.resize,
            _ => return,
        };
        place.get_or_insert(stream);
    }
}

/// Copies until the process ends or the client leaves.
pub(super) async fn run(mut connection: Connection, socket: NodeSocket, wanted: Wanted) {
    let mut streams = Streams::default();
    let collect = async {
        while !streams.has(wanted) {
            match connection.streams.recv().await {
                Some(stream) => streams.take(stream),
                None => return false,
            }
        }
        true
    };
    match tokio::time::timeout(CREATION, collect).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(_) => return tracing::debug!("the client did not open its streams in time"),
    }
    let Streams { error: Some(error), stdin, stdout, stderr, resize } = streams else { return };
    let (stdout, stderr, error) = (stdout.map(|s| s.output), stderr.map(|s| s.output), error.output);
    // What we never write to is kept: its end would be the stream's.
    let (stdin, _stdin) = stdin.map(|s| (s.input, s.output)).unzip();
    let (resize, _resize) = resize.map(|s| (s.input, s.output)).unzip();

    let (mut sink, mut from_node) = socket.split();
    let (to_node, mut queue) = mpsc::channel::<Message>(4);
    let sending = async {
        while let Some(message) = queue.recv().await {
            if sink.send(message).await.is_err() {
                break;
            }
        }
        // The node's own end of the stream is what counts.
        std::future::pending::<()>().await;
    };
    let input = async { tokio::join!(copy_stdin(stdin, to_node.clone()), copy_sizes(resize, to_node)) };
    let output = async {
        let mut status = None;
        while let Some(Ok(message)) = from_node.next().await {
            match channel(message) {
                Some((STDOUT, data)) => write(stdout.as_ref(), data).await,
                Some((STDERR, data)) => write(stderr.as_ref(), data).await,
                Some((ERROR, data)) if !data.is_empty() => status = Some(data),
                _ => {}
            }
        }
        status
    };
    let status = tokio::select! {
        status = output => status,
        () = connection.gone.cancelled() => return,
        () = async { tokio::join!(sending, input).0 } => return,
    };
    if let Some(told) = told(status, wanted.has_status) {
        error.send(told).await;
    }
    error.finish().await;
    for output in [stdout, stderr].into_iter().flatten() {
        output.finish().await;
    }
    connection.close().await;
}

async fn write(stream: Option<&Output>, data: Bytes) {
    if let Some(stream) = stream
        && !data.is_empty()
    {
        // A stream that the client gave up does not end the others.
        stream.send(data).await;
    }
}

async fn copy_stdin(stdin: Option<Input>, to_node: mpsc::Sender<Message>) {
    let Some(mut stdin) = stdin else { return };
    while let Received::Data(data) = stdin.receive().await {
        if to_node.send(message(STDIN, &data)).await.is_err() {
            return;
        }
    }
    let _ = to_node.send(message(CLOSE, &[STDIN])).await;
}

/// Sizes are JSON objects, one after the other; the node gets each by itself.
async fn copy_sizes(resize: Option<Input>, to_node: mpsc::Sender<Message>) {
    let Some(mut resize) = resize else { return };
    let mut text = BytesMut::new();
    while let Received::Data(data) = resize.receive().await {
        text.extend_from_slice(&data);
        while let Some(end) = memchr::memchr(b'}', &text) {
            let size = text.split_to(end + 1);
            if to_node.send(message(RESIZE, size.trim_ascii())).await.is_err() {
                return;
            }
        }
        if text.len() > MAX_SIZE {
            return;
        }
    }
}

/// What the error stream says at the end, in the client's version of the protocol; no text is success there.
fn told(status: Option<Bytes>, has_status: bool) -> Option<Bytes> {
    const LOST: &str =
        r#"{"metadata":{},"status":"Failure","message":"the node's stream ended early","reason":"InternalError","code":500}"#;
    let status = status.unwrap_or_else(|| Bytes::from_static(LOST.as_bytes()));
    if has_status {
        return Some(status);
    }
    let status: Value = serde_json::from_slice(&status).unwrap_or_default();
    (status["status"] != "Success").then(|| Bytes::from(status["message"].as_str().unwrap_or("unknown error").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_and_the_version_tell_which_streams_come() {
        let wanted = Wanted::parse("command=sh&stdin=true&stdout=true&stderr=true&tty=true", V4);
        assert_eq!(wanted, Wanted { stdin: true, stdout: true, stderr: false, resize: true, has_status: true });
        let wanted = Wanted::parse("stdout=1&stderr=1&tty=1", "v2.channel.k8s.io");
        assert_eq!(wanted, Wanted { stdin: false, stdout: true, stderr: false, resize: false, has_status: false });
    }

    #[test]
    fn old_clients_get_an_errors_text_and_nothing_for_success() {
        let success = Bytes::from_static(br#"{"metadata":{},"status":"Success"}"#);
        assert_eq!(told(Some(success.clone()), true), Some(success.clone()));
        assert_eq!(told(Some(success), false), None);
        let failure = Bytes::from_static(br#"{"status":"Failure","message":"exit status 3"}"#);
        assert_eq!(told(Some(failure), false), Some(Bytes::from_static(b"exit status 3")));
        assert_eq!(told(None, false), Some(Bytes::from_static(b"the node's stream ended early")));
    }
}
