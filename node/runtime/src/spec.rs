//! What is to run, as a runtime needs to know it (no Pod here: the agent translates).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use mizzen_shim_protocol::LogLimits;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique for every attempt to run a container; `[a-z0-9-]{1,64}`.
    pub id: String,
    /// What the agent must find again after a restart (pod uid, namespace, name, container name, attempt).
    pub labels: BTreeMap<String, String>,
    pub sandbox: Sandbox,
    pub image: Image,
    pub process: Process,
    pub mounts: Vec<Mount>,
    pub resources: Resources,
    /// CRI log format, appended to.
    pub log_path: PathBuf,
    /// Without limits, one file without end.
    pub log_limits: Option<LogLimits>,
}

/// What the containers of a pod share.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sandbox {
    pub pod_uid: String,
    pub namespace: String,
    pub pod: String,
    pub hostname: String,
    /// Paths of pinned namespaces to join; `None` is the host's.
    pub network_namespace: Option<PathBuf>,
    pub ipc_namespace: Option<PathBuf>,
    pub uts_namespace: Option<PathBuf>,
    /// `hostPID`: the host's process namespace, otherwise one per container.
    pub host_pid: bool,
    /// One to join instead. Its first process must not be the container's.
    pub pid_namespace: Option<PathBuf>,
    /// The pod's addresses, first the primary one.
    pub addresses: Vec<IpAddr>,
    /// The pod's cgroup, relative to each hierarchy's root, e.g. `/mizzen-3f2a/burstable/pod<uid>`; it exists.
    pub cgroup: String,
    /// Sysctls of the pod's namespaces.
    pub sysctls: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Image {
    /// Unpacked layers, the lowest first, to be stacked by overlayfs with a writable layer of the container's own.
    Layers(Vec<PathBuf>),
    /// A Wasm component or core module; `digest` (`sha256:…`) is its content's.
    Wasm { path: PathBuf, digest: String },
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Process {
    /// Entrypoint and arguments; for Wasm only the arguments after the program's name.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Empty is `/`; created when the image lacks it.
    pub cwd: String,
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
    pub terminal: bool,
    /// Keep a stdin open that [`crate::Runtime::attach`] writes to; otherwise it is empty.
    pub stdin: bool,
    /// Close stdin when the first attached client leaves (`stdinOnce`).
    pub stdin_once: bool,
    /// Names with `CAP_`.
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
    pub privileged: bool,
    pub readonly_rootfs: bool,
    pub seccomp: Seccomp,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub enum Seccomp {
    /// The profile that container engines use by default.
    #[default]
    RuntimeDefault,
    Unconfined,
    /// A profile in the OCI JSON format.
    Localhost(PathBuf),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    pub source: PathBuf,
    /// Absolute, in the container.
    pub target: PathBuf,
    pub readonly: bool,
    /// `private`, `rslave` or `rshared`.
    pub propagation: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Resources {
    pub cpu_shares: Option<u64>,
    /// Microseconds per `cpu_period` (microseconds).
    pub cpu_quota: Option<i64>,
    pub cpu_period: Option<u64>,
    /// Bytes.
    pub memory_limit: Option<i64>,
    pub pids_limit: Option<i64>,
    pub oom_score_adj: Option<i32>,
}
