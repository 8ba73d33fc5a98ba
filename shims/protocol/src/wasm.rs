//! What a [`crate::Call::Start`] to a host of Wasm pods carries.
//!
//! The files travel beside the message as descriptors (`SCM_RIGHTS`), for the host may open none of them: first the
//! compiled program, then the log, opened for appending, then one directory for each of [`WasmStart::preopens`].
//! A [`crate::Call::ReopenLog`] to such a host carries the new log file the same way.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// As whom hosts of Wasm pods run: nobody, as every distribution has it. A pod's files are read as this user, whatever user
/// its manifest names.
pub const HOST_USER: u32 = 65534;

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
    /// Processor time of all instances of the pod together.
    #[serde(default)]
    pub cpu_quota: Option<CpuQuota>,
    /// 1024 for a processor: how much of them the pod gets beside others that want them too.
    #[serde(default)]
    pub cpu_shares: Option<u64>,
    /// The pod's own; every socket is bound to one of them.
    pub addresses: Vec<IpAddr>,
    /// Where a `wasi:http` component is served.
    pub http_port: u16,
    /// The text of the pod's resolv.conf(5): whom it asks for names.
    #[serde(default)]
    pub resolv_conf: String,
    /// The text of the pod's hosts(5).
    #[serde(default)]
    pub hosts: String,
}

/// Like the kernel's CFS bandwidth control: what is used up in a period comes back with the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuQuota {
    /// Microseconds of processor time in each period.
    pub quota: u64,
    /// Microseconds.
    pub period: u64,
}

/// A directory the guest finds open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preopen {
    /// The guest's path.
    pub target: String,
    pub readonly: bool,
}
