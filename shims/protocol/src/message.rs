//! What agent and shim say to each other about one container.
//!
//! The agent sends a [`Request`], the shim answers with one [`Reply`]. After [`Reply::Streaming`] the connection carries
//! stream frames and [`Control`] messages both ways until the shim has sent [`Control::Exit`]. After a [`Call::Watch`]
//! a [`Reply::State`] follows whenever the state changes, until the shim closes the connection.

use serde::{Deserialize, Serialize};

use crate::files::ExitRecord;
use crate::version::Version;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub version: Version,
    /// The container's id: one process may own several.
    pub container: String,
    pub call: Call,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Call {
    /// For shims that own several containers; `spec` is the shim's own format. Answered with [`Reply::State`].
    Start {
        spec: serde_json::Value,
    },
    State,
    Watch,
    Signal {
        signal: i32,
    },
    Exec {
        command: Vec<String>,
        terminal: bool,
        stdin: bool,
    },
    Attach {
        stdin: bool,
    },
    Stats,
    /// Go on in the log file that comes with the call, after a rotation. Only hosts of Wasm pods are asked.
    ReopenLog,
    /// Kill what runs and forget the container; a shim with no container left ends.
    Remove,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    Done,
    State {
        state: State,
    },
    Streaming,
    Stats {
        /// Bytes.
        memory: u64,
        /// Nanoseconds since the start.
        cpu: u64,
    },
    /// The shim speaks another version.
    Version {
        version: Version,
    },
    NotFound,
    NotRunning,
    Unsupported {
        why: String,
    },
    Failed {
        message: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Running {
        /// RFC 3339, UTC.
        started_at: String,
        /// In the host's process namespace.
        pid: Option<i32>,
    },
    Exited(ExitRecord),
}

/// Within a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub enum Control {
    /// From the agent.
    Resize { columns: u16, rows: u16 },
    /// From the shim, its last word: the exit code, 128 + signal when a signal ended the process.
    Exit { code: i32 },
    /// From the shim, its last word: the process could not be started.
    Failed { message: String },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PROTOCOL_VERSION;

    #[test]
    fn a_request_keeps_its_written_form() {
        let request = Request { version: PROTOCOL_VERSION, container: "a".into(), call: Call::Signal { signal: 15 } };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(json, r#"{"version":{"major":1,"minor":0},"container":"a","call":{"call":"signal","signal":15}}"#);
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
    }

    #[test]
    fn an_exited_state_is_read_back() {
        let state = State::Exited(ExitRecord { code: 137, signal: Some(9), ..ExitRecord::default() });
        let reply = Reply::State { state };
        assert_eq!(serde_json::from_str::<Reply>(&serde_json::to_string(&reply).unwrap()).unwrap(), reply);
    }
}
