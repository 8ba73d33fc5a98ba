//! How a container is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStatus {
    pub id: String,
    /// As given in [`crate::ContainerSpec::labels`].
    pub labels: BTreeMap<String, String>,
    pub state: ContainerState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    Running {
        /// RFC 3339, UTC.
        started_at: String,
        /// In the host's process namespace; `None` for Wasm.
        pid: Option<i32>,
    },
    Exited(Exit),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 128 + signal when a signal ended it.
    pub code: i32,
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `WasmTrap`, …
    pub reason: String,
    /// What a person can act on; may be empty.
    pub message: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub finished_at: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Bytes.
    pub memory: u64,
    /// Nanoseconds since the start.
    pub cpu: u64,
}
