//! What a [`crate::Call::Start`] to a host of Wasm pods carries.
//!
//! The files travel beside the message as descriptors (`SCM_RIGHTS`), for the host may open none of them: first the
//! compiled program, then the log, opened for appending, then one directory for each of [`WasmStart::preopens`].
//! A [`crate::Call::ReopenLog`] to such a host carries the new log file the same way.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The most descriptors that one message carries, as Linux has it.
pub const MAX_DESCRIPTORS: usize = 253;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasmStart {
    /// Names the compiled program: programs of one name are the same, and shared.
    pub program: String,
    /// The program's own name first.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub preopens: Vec<Preopen>,
    /// Bytes of linear memories and tables of all instances of the pod together.
    pub memory_limit: Option<u64>,
    /// The pod's own; every socket is bound to one of them.
    pub addresses: Vec<IpAddr>,
    /// Where a `wasi:http` component is served.
    pub http_port: u16,
}

/// A directory the guest finds open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preopen {
    /// The guest's path.
    pub target: String,
    pub readonly: bool,
}
