//! The files of a container's directory, through which agents and shims of different lifetimes find each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::logs::LogLimits;
use crate::version::Version;

/// Written by the agent before the shim is started: [`ContainerFile`].
pub const CONTAINER: &str = "container.json";
/// Written by the shim once the process runs: [`RunningRecord`].
pub const RUNNING: &str = "running.json";
/// Written by the shim, or by an agent that finds it dead, as the last thing: [`ExitRecord`].
pub const EXIT: &str = "exit.json";
/// The shim's socket. Its path may be longer than a socket address holds: go by way of the directory.
pub const SOCKET: &str = "shim.sock";
/// Locked (`flock`) for as long as the shim lives.
pub const LOCK: &str = "lock";

/// What a shim needs to know about the container beside its OCI spec, and an agent after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFile {
    pub version: Version,
    pub id: String,
    pub labels: BTreeMap<String, String>,
    /// The root file system's layers, the lowest first.
    pub layers: Vec<PathBuf>,
    pub log_path: PathBuf,
    /// Without, as from an older agent, the log is one file without end.
    #[serde(default)]
    pub log_limits: Option<LogLimits>,
    pub terminal: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    /// The container's cgroup in each hierarchy.
    pub cgroups: Vec<CgroupDirectory>,
    /// The user of the first process, who gets the streams.
    pub uid: u32,
    /// Some mount of the container propagates back to the host, so that its mounts cannot be made in a namespace of
    /// their own.
    pub shared_mounts: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupDirectory {
    /// The v1 controllers of this hierarchy; empty is the v2 hierarchy.
    pub controllers: Vec<String>,
    pub path: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningRecord {
    pub version: Version,
    pub pid: i32,
    /// RFC 3339, UTC.
    pub started_at: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// 128 + signal when a signal ended it.
    pub code: i32,
    pub signal: Option<i32>,
    pub reason: String,
    pub message: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub finished_at: String,
}

/// What a starting shim prints on its standard output before it closes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum StartReply {
    Running(RunningRecord),
    Failed {
        /// As Kubernetes shows it.
        reason: String,
        message: String,
    },
}
