//! What a node can run: containers and Wasm modules behind one [`Runtime`] trait.

mod cgroup;
pub mod cpu_shares;
mod executable;
pub mod oci;
pub mod spec;
pub mod status;
pub mod stream;
pub mod testing;
pub mod wasm;

pub use mizzen_shim_protocol::{LogLimits, logs};
pub use oci::{CAPABILITIES, OciConfig, OciRuntime};
pub use spec::{ContainerSpec, Image, Mount, Process, Resources, Sandbox, Seccomp};
pub use status::{ContainerState, ContainerStatus, Exit, Stats};
pub use stream::{ExecSpec, Session};
pub use wasm::{WasmConfig, WasmRuntime};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use mizzen_shim_protocol::{files, record};
use tokio::sync::watch;

/// Runs containers that outlive the agent. All calls are idempotent, so that an agent that was killed at any line
/// repeats what it was doing.
///
/// Implementors pass `testing::suite`.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Starts a container, or answers how it is when one with this id was started before.
    ///
    /// # Errors
    /// [`RuntimeError::Start`] with a reason that can be shown to a user. Nothing is left behind.
    async fn start(&self, spec: &ContainerSpec) -> Result<ContainerStatus, RuntimeError>;

    /// # Errors
    /// [`RuntimeError::NotFound`], or [`RuntimeError::Unreachable`] when the process that owns it does not answer.
    async fn status(&self, id: &str) -> Result<ContainerStatus, RuntimeError>;

    /// Every container that was started and not removed, also by an earlier agent.
    ///
    /// # Errors
    /// When the runtime's own directory cannot be read.
    async fn list(&self) -> Result<Vec<ContainerStatus>, RuntimeError>;

    /// Sends a signal to the container's first process. No error when it has exited already.
    ///
    /// # Errors
    /// As for [`Runtime::status`].
    async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError>;

    /// Kills what still runs and removes every process, mount, cgroup and file of the container but its log. No error
    /// when it is gone already.
    ///
    /// # Errors
    /// When something could not be removed; call again.
    async fn remove(&self, id: &str) -> Result<(), RuntimeError>;

    /// Starts another process in a running container.
    ///
    /// # Errors
    /// [`RuntimeError::Unsupported`] where the runtime has no processes to add (Wasm), [`RuntimeError::NotRunning`].
    async fn exec(&self, id: &str, exec: ExecSpec) -> Result<Session, RuntimeError>;

    /// Connects to the first process's own streams.
    ///
    /// # Errors
    /// As for [`Runtime::exec`].
    async fn attach(&self, id: &str) -> Result<Session, RuntimeError>;

    /// # Errors
    /// As for [`Runtime::status`], and [`RuntimeError::NotRunning`].
    async fn stats(&self, id: &str) -> Result<Stats, RuntimeError>;

    /// A counter that moves whenever some container's state may have changed: reconcile from [`Runtime::list`].
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The labels of every container that a runtime keeps below `root`, for one who only wants to look.
pub fn labels_below(root: &Path) -> Vec<BTreeMap<String, String>> {
    #[derive(serde::Deserialize)]
    struct Labelled {
        labels: BTreeMap<String, String>,
    }
    let directories = std::fs::read_dir(root.join("containers")).into_iter().flatten().flatten();
    let read = |path: PathBuf| record::read::<Labelled>(&path.join(files::CONTAINER)).ok().flatten();
    directories.filter_map(|entry| Some(read(entry.path())?.labels)).collect()
}

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("no container {id}")]
    NotFound { id: String },
    #[error("container {id} is not running")]
    NotRunning { id: String },
    /// `reason` is a container state reason as Kubernetes shows it (`StartError`, `CreateContainerError`, …).
    #[error("{message}")]
    Start { id: String, reason: String, message: String },
    #[error("{operation} is not supported for container {id}: {why}")]
    Unsupported { operation: &'static str, id: String, why: String },
    #[error("the process that owns container {id} does not answer: {why}")]
    Unreachable { id: String, why: String },
    #[error("{operation} of container {id}: {source}")]
    Io {
        operation: &'static str,
        id: String,
        #[source]
        source: std::io::Error,
    },
}

impl RuntimeError {
    /// The same, with what people call the container in place of its id, which only the node knows.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        match &mut self {
            Self::NotFound { id }
            | Self::NotRunning { id }
            | Self::Start { id, .. }
            | Self::Unsupported { id, .. }
            | Self::Unreachable { id, .. }
            | Self::Io { id, .. } => name.clone_into(id),
        }
        self
    }
}
