//! `channel.k8s.io`, `v4.channel.k8s.io` and `v5.channel.k8s.io`: the first byte of each message names its channel. In v5,
//! channel 255 closes another one, so that a program can be told the end of its input. The first version says on the error
//! channel in words what went wrong, and nothing when all went well; the others say how it ended.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use mizzen_runtime::{RuntimeError, Session};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
const V1: &str = "channel.k8s.io";
/// The subprotocols, the best first.
pub(super) const PROTOCOLS: [&str; 3] = [V5, V4, V1];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// What a process that has ended left in its pipes is waited for no longer: a child may keep them open for ever.
const DRAIN: Duration = Duration::from_secs(2);

/// What the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V1,
    V4,
    V5,
}

impl Dialect {
    /// By the name of a subprotocol.
    pub(super) fn named(protocol: &str) -> Option<Self> {
        Some(match protocol {
            V1 => Self::V1,
            V4 => Self::V4,
            V5 => Self::V5,
            _ => return None,
        })
    }

    /// What the error channel says at the end.
    fn last_word(self, status: &Value) -> Option<Message> {
        match self {
            Self::V1 if status["status"] == "Success" => None,
            Self::V1 => Some(frame(ERROR, status["message"].as_str().unwrap_or_default().as_bytes())),
            Self::V4 | Self::V5 => Some(frame(ERROR, status.to_string().as_bytes())),
        }
    }
}

/// Which streams the client asked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// The exit code is the client's business (not when it only attached).
    pub(super) is_exec: bool,
}

/// Copies until the process ends or the client leaves. `called` is what people call the container.
pub(super) async fn run(socket: WebSocket, session: Session, wanted: Wanted, dialect: Dialect, called: String) {
    let (sink, stream) = socket.split();
    let (sender, receiver) = mpsc::channel::<Message>(16);
    let Session { stdin, stdout, stderr, resize, exit } = session;
    let sending = tokio::spawn(send(sink, receiver));
    // An empty message tells the client that the stream stands.
    let _ = sender.send(frame(if wanted.stdout { STDOUT } else { ERROR }, b"")).await;

    let out = pump(stdout, STDOUT, wanted.stdout.then(|| sender.clone()));
    let err = async {
        if let Some(stderr) = stderr {
            pump(stderr, STDERR, wanted.stderr.then(|| sender.clone())).await;
        }
    };
    let output = async { tokio::join!(out, err) };
    let ended = async {
        tokio::pin!(output);
        let mut exit = exit;
        let code = tokio::select! {
            code = &mut exit => {
                let _ = tokio::time::timeout(DRAIN, &mut output).await;
                code
            }
            _ = &mut output => exit.await,
        };
        code.unwrap_or_else(|_| Err(RuntimeError::Unreachable { id: String::new(), why: "its end was not told".into() }))
    };
    let input = receive(stream, stdin.filter(|_| wanted.stdin), resize, dialect == Dialect::V5);
    tokio::select! {
        result = ended => {
            let status = status(&result.map_err(|error| error.called(&called)), wanted.is_exec);
            if let Some(word) = dialect.last_word(&status) {
                let _ = sender.send(word).await;
            }
            let _ = sender.send(Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }))).await;
        }
        () = input => {}
    }
    drop(sender);
    let _ = tokio::time::timeout(DRAIN, sending).await;
}

/// Says on the error channel why nothing was started.
pub(super) async fn refuse(mut socket: WebSocket, dialect: Dialect, message: String) {
    let status = json!({"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500});
    if let Some(word) = dialect.last_word(&status) {
        let _ = socket.send(word).await;
    }
    let _ = socket.send(Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }))).await;
}

/// What the error channel says at the end (`meta/v1.Status`).
fn status(result: &Result<i32, RuntimeError>, is_exec: bool) -> Value {
    match result {
        Err(error) => {
            json!({"metadata": {}, "status": "Failure", "message": error.to_string(), "reason": "InternalError", "code": 500})
        }
        Ok(code) if *code != 0 && is_exec => json!({
            "metadata": {}, "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Ok(_) => json!({"metadata": {}, "status": "Success"}),
    }
}

fn frame(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(Bytes::from(bytes))
}

async fn send(mut sink: SplitSink<WebSocket, Message>, mut receiver: mpsc::Receiver<Message>) {
    while let Some(message) = receiver.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

/// Output that nobody wants is read all the same, so that the process is not held up.
async fn pump(mut from: Box<dyn AsyncRead + Send + Unpin>, channel: u8, to: Option<mpsc::Sender<Message>>) {
    let mut buffer = vec![0; 32 * 1024];
    // An error here is a terminal's way to say that its other side is closed.
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if let Some(to) = &to
            && to.send(frame(channel, &buffer[..read])).await.is_err()
        {
            return;
        }
    }
}

#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width")]
    width: u16,
    #[serde(rename = "Height")]
    height: u16,
}

/// Ends when the client leaves.
async fn receive(
    mut stream: SplitStream<WebSocket>,
    mut stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    resize: mpsc::Sender<(u16, u16)>,
    v5: bool,
) {
    while let Some(Ok(message)) = stream.next().await {
        let data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        match data.split_first() {
            Some((&STDIN, data)) => {
                if let Some(open) = &mut stdin
                    && (open.write_all(data).await.is_err() || open.flush().await.is_err())
                {
                    stdin = None;
                }
            }
            Some((&RESIZE, data)) => {
                if let Ok(size) = serde_json::from_slice::<Size>(data) {
                    // A process that has ended has no terminal any more.
                    let _ = resize.send((size.width, size.height)).await;
                }
            }
            Some((&CLOSE, &[STDIN])) if v5 => {
                if let Some(mut open) = stdin.take() {
                    let _ = open.shutdown().await;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_told_as_kubectl_reads_it() {
        assert_eq!(status(&Ok(0), true)["status"], "Success");
        let failed = status(&Ok(3), true);
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
        assert_eq!(status(&Ok(3), false)["status"], "Success");
        assert_eq!(Dialect::V1.last_word(&status(&Ok(0), true)), None);
        let told = b"\x03command terminated with non-zero exit code: exit status 3";
        assert_eq!(Dialect::V1.last_word(&failed), Some(Message::Binary(Bytes::from_static(told))));
        assert_eq!(status(&Err(RuntimeError::NotRunning { id: "x".into() }), true)["reason"], "InternalError");
    }
}
