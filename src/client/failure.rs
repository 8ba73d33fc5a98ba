//! What a user reads of an error, in kubectl's words (`kubectl/pkg/cmd/util`).

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::Error;
use kube::core::Status;

/// Nobody reads standard output any more (`mizzen get pods | head -1`).
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
struct Closed;

/// As a process ends that SIGPIPE ended.
const PIPE: u8 = 128 + 13;

/// Prints to standard output.
///
/// # Errors
/// When nobody reads it any more, or it cannot be written.
pub fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_ref()).and_then(|()| out.flush()).map_err(unwritten)
}

/// Why standard output was not written.
pub fn unwritten(error: std::io::Error) -> Error {
    if error.kind() == ErrorKind::BrokenPipe { Closed.into() } else { Error::new(error).context("write to standard output") }
}

/// Says what went wrong; answers how the process ends.
pub fn say(error: &Error, server: &str) -> ExitCode {
    if error.is::<Closed>() {
        return ExitCode::from(PIPE);
    }
    eprintln!("{}", text(error, server));
    ExitCode::FAILURE
}

pub fn is_not_found(error: &Error) -> bool {
    refused(error).is_some_and(|status| status.reason == "NotFound")
}

/// What the server answered, if it refused.
pub fn refused(error: &Error) -> Option<&Status> {
    error.chain().find_map(|cause| match cause.downcast_ref()? {
        kube::Error::Api(status) => Some(&**status),
        _ => None,
    })
}

/// `server` is what could not be reached, if that is it.
fn text(error: &Error, server: &str) -> String {
    if let Some(status) = refused(error) {
        return refusal(status, &contexts(error));
    }
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    if io.is_some_and(|io| io.kind() == ErrorKind::ConnectionRefused) {
        return format!("The connection to the server {server} was refused - did you specify the right host or port?");
    }
    if matches!(error.downcast_ref(), Some(kube::Error::Service(_) | kube::Error::HyperError(_))) {
        let deepest = error.chain().last().map(ToString::to_string).unwrap_or_default();
        return format!("Unable to connect to the server: {deepest}");
    }
    format!("error: {}", crate::failure::line(error))
}

/// What was being done, as `context: context: `.
fn contexts(error: &Error) -> String {
    let before = error.chain().take_while(|cause| !cause.is::<kube::Error>());
    before.map(|context| format!("{context}: ")).collect()
}

fn refusal(status: &Status, doing: &str) -> String {
    let message = &status.message;
    match (status.reason.as_str(), &status.details) {
        ("Unauthorized", _) => "error: You must be logged in to the server (Unauthorized)".to_owned(),
        ("Invalid", Some(details)) if !details.causes.is_empty() => {
            let mut causes: Vec<String> = Vec::new();
            for cause in &details.causes {
                let line = format!("{}: {}", cause.field, cause.message);
                if !causes.contains(&line) {
                    causes.push(line);
                }
            }
            let object = match (details.kind.as_str(), details.name.as_str()) {
                ("", "") => "The request is invalid".to_owned(),
                (kind, name) => format!("The {kind} {name:?} is invalid"),
            };
            match &causes[..] {
                [cause] => format!("{object}: {cause}"),
                causes => format!("{object}: \n* {}", causes.join("\n* ")),
            }
        }
        ("", _) => format!("Error from server: {doing}{message}"),
        (reason, _) => format!("Error from server ({reason}): {doing}{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: serde_json::Value) -> Error {
        let status: Status = serde_json::from_value(status).expect("is a status");
        kube::Error::Api(status.boxed()).into()
    }

    #[test]
    fn a_refusal_is_the_servers_own_words() {
        let error = answered(serde_json::json!({"message": "pods \"a\" not found", "reason": "NotFound", "code": 404}));
        assert_eq!(text(&error, ""), "Error from server (NotFound): pods \"a\" not found");
        assert!(is_not_found(&error));
        let error = error.context("error when patching \"a.yaml\"");
        assert_eq!(text(&error, ""), "Error from server (NotFound): error when patching \"a.yaml\": pods \"a\" not found");
        assert!(is_not_found(&error));
    }

    #[test]
    fn an_invalid_object_has_every_wrong_field_named_once() {
        let cause = |field: &str| serde_json::json!({"field": field, "message": "Required value"});
        let invalid = |causes: Vec<serde_json::Value>| {
            let details = serde_json::json!({"kind": "Pod", "name": "a", "causes": causes});
            text(&answered(serde_json::json!({"message": "m", "reason": "Invalid", "code": 422, "details": details})), "")
        };
        assert_eq!(invalid(vec![cause("x")]), "The Pod \"a\" is invalid: x: Required value");
        let said = invalid(vec![cause("x"), cause("y"), cause("x")]);
        assert_eq!(said, "The Pod \"a\" is invalid: \n* x: Required value\n* y: Required value");
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        let refused = std::io::Error::from(ErrorKind::ConnectionRefused);
        let said = text(&kube::Error::Service(Box::new(refused)).into(), "127.0.0.1:6443");
        assert_eq!(said, "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?");
        assert_eq!(text(&anyhow::anyhow!("nothing to do"), ""), "error: nothing to do");
    }
}
