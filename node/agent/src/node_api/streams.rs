//! `/exec` and `/attach`: a process's streams over a WebSocket with Kubernetes' channel subprotocols.

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, RawQuery, State as Axum};
use axum::response::Response;
use mizzen_api::Reason;
use mizzen_runtime::{ContainerState, ContainerStatus, ExecSpec, RuntimeError, Session};

use super::channels::{Dialect, PROTOCOLS};
use super::refusal::refuse;
use super::{State, channels};
use crate::pod::labels;

type Target = Path<(String, String, String)>;
type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// What the query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

fn asked(query: &str) -> Asked {
    let mut asked = Asked::default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let flag = matches!(value.as_ref(), "1" | "true" | "True");
        // The pod API says stdin, the kubelet's own says input.
        match name.as_ref() {
            "command" => asked.command.push(value.into_owned()),
            "stdin" | "input" => asked.stdin = flag,
            "stdout" | "output" => asked.stdout = flag,
            "stderr" | "error" => asked.stderr = flag,
            "tty" => asked.tty = flag,
            _ => {}
        }
    }
    asked
}

pub(super) async fn exec(state: Axum<State>, target: Target, RawQuery(query): RawQuery, upgrade: Upgrade) -> Response {
    let asked = asked(query.as_deref().unwrap_or_default());
    if asked.command.is_empty() {
        return refuse(Reason::BadRequest, "you must specify at least 1 command");
    }
    let spec = ExecSpec { command: asked.command.clone(), terminal: asked.tty, stdin: asked.stdin };
    stream(state, target, asked, upgrade, Some(spec)).await
}

pub(super) async fn attach(state: Axum<State>, target: Target, RawQuery(query): RawQuery, upgrade: Upgrade) -> Response {
    stream(state, target, asked(query.as_deref().unwrap_or_default()), upgrade, None).await
}

/// `exec` is the process to start; without it, the container's own streams.
async fn stream(
    Axum(state): Axum<State>,
    Path((namespace, name, container)): Target,
    asked: Asked,
    upgrade: Upgrade,
    exec: Option<ExecSpec>,
) -> Response {
    let spoken = || PROTOCOLS.join(", ");
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade.protocols(PROTOCOLS),
        Err(_) => return refuse(Reason::BadRequest, format!("only WebSocket streams are served ({})", spoken())),
    };
    let dialect = match upgrade.selected_protocol().and_then(|protocol| protocol.to_str().ok()) {
        Some(protocol) => Dialect::named(protocol),
        // As kubelets take it.
        None if upgrade.requested_protocols().next().is_none() => Some(Dialect::V1),
        None => None,
    };
    let Some(dialect) = dialect else {
        return refuse(Reason::BadRequest, format!("no subprotocol that this node speaks ({})", spoken()));
    };
    let status = match find(&state, &namespace, &name, &container).await {
        Ok(status) => status,
        Err(refusal) => return *refusal,
    };
    let is_exec = exec.is_some();
    let called = format!("{container:?} in pod \"{namespace}/{name}\"");
    match open(&state, &status, exec).await {
        Ok(session) => {
            let wanted =
                channels::Wanted { stdin: asked.stdin, stdout: asked.stdout, stderr: asked.stderr && !asked.tty, is_exec };
            upgrade.on_upgrade(move |socket| channels::run(socket, session, wanted, dialect, called))
        }
        // The client has a channel for errors, and shows what comes there.
        Err(error) => upgrade.on_upgrade(move |socket| channels::refuse(socket, dialect, error.called(&called).to_string())),
    }
}

async fn find(state: &State, namespace: &str, name: &str, container: &str) -> Result<ContainerStatus, Box<Response>> {
    let Some(handle) = state.pods.named(namespace, name).await else {
        return Err(Box::new(refuse(Reason::NotFound, format!("pod {namespace}/{name} is not on this node"))));
    };
    let status = handle.latest.borrow().get(container).cloned();
    match status {
        Some(status) if matches!(status.state, ContainerState::Running { .. }) => Ok(status),
        _ => Err(Box::new(refuse(Reason::NotFound, format!("container not found (\"{container}\")")))),
    }
}

async fn open(state: &State, status: &ContainerStatus, exec: Option<ExecSpec>) -> Result<Session, RuntimeError> {
    let Some(runtime) = state.shared.runtime(labels::is_wasm(status)) else {
        return Err(RuntimeError::NotFound { id: status.id.clone() });
    };
    match exec {
        Some(spec) => runtime.exec(&status.id, spec).await,
        None => runtime.attach(&status.id).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_read_in_both_dialects() {
        let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            asked("command=sh&command=-c&command=echo%20a%26b&stdin=true&stdout=true&stderr=true&tty=true&container=c"),
            Asked { command: command(&["sh", "-c", "echo a&b"]), stdin: true, stdout: true, stderr: true, tty: true }
        );
        assert_eq!(
            asked("command=ls&output=1&error=1"),
            Asked { command: command(&["ls"]), stdout: true, stderr: true, ..Asked::default() }
        );
    }
}
