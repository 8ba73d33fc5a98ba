//! `/containerLogs/{namespace}/{pod}/{container}`.

use std::io;

use axum::body::Body;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, RawQuery, State as Axum};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use mizzen_api::Reason;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::State;
use super::refusal::{answer, refuse};
use crate::logs::options::LogOptions;
use crate::logs::stream;
use crate::pod::containers::containers;

/// The subprotocol in which each message is some of the log.
const BINARY: &str = "binary.k8s.io";

pub(super) async fn logs(
    Axum(state): Axum<State>,
    Path((namespace, name, container)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let options = match LogOptions::parse(query.as_deref().unwrap_or_default(), &name, state.shared.now()) {
        Ok(options) => options,
        Err(status) => return answer(&status),
    };
    let Some(handle) = state.pods.named(&namespace, &name).await else {
        return refuse(Reason::NotFound, format!("pod {namespace}/{name} is not on this node"));
    };
    let pod = handle.desired.borrow().pod.clone();
    if !containers(&pod).any(|known| known.name == container) {
        return refuse(Reason::NotFound, format!("container \"{container}\" not found in pod \"{name}_{namespace}\""));
    }
    let dir = state.shared.log_dir(&namespace, &name, pod.metadata.uid.as_deref().unwrap_or_default()).join(&container);
    let Some(path) = stream::find(&dir, options.previous).await else {
        let message = match options.previous {
            true => format!("previous terminated container \"{container}\" in pod \"{name}\" not found"),
            false => {
                format!("container \"{container}\" in pod \"{name}\" is waiting to start: {}", waiting_reason(&pod, &container))
            }
        };
        return refuse(Reason::BadRequest, message);
    };
    let attempt = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok());
    let writer = stream::Writer { latest: handle.latest.subscribe(), container, attempt };
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(stream::send(path, options, writer, state.shared.log_watches.clone(), sender));
    if let Ok(upgrade) = upgrade {
        return upgrade.protocols([BINARY]).on_upgrade(move |socket| send(socket, receiver));
    }
    ([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(ReceiverStream::new(receiver))).into_response()
}

/// Sends what is read as messages, until its end or until the client leaves.
async fn send(mut socket: WebSocket, mut parts: mpsc::Receiver<io::Result<Bytes>>) {
    loop {
        tokio::select! {
            part = parts.recv() => match part {
                Some(Ok(part)) => {
                    if socket.send(Message::Binary(part)).await.is_err() {
                        return;
                    }
                }
                Some(Err(_)) | None => break,
            },
            // A client has nothing to say but that it leaves.
            heard = socket.recv() => if !matches!(heard, Some(Ok(message)) if !matches!(message, Message::Close(_))) {
                return;
            },
        }
    }
    let _ = socket.send(Message::Close(Some(CloseFrame { code: 1000, reason: "".into() }))).await;
}

/// What the API was told of why a container waits.
fn waiting_reason(pod: &k8s_openapi::api::core::v1::Pod, container: &str) -> String {
    let status = pod.status.as_ref();
    let all = status.iter().flat_map(|s| s.container_statuses.iter().flatten().chain(s.init_container_statuses.iter().flatten()));
    let reason =
        all.filter(|status| status.name == container).find_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match reason.as_deref() {
        Some("ErrImagePull" | "ImagePullBackOff") => "trying and failing to pull image".into(),
        Some("CrashLoopBackOff") | None => "ContainerCreating".into(),
        Some(reason) => reason.to_owned(),
    }
}
