//! Why an agent cannot run, and why a step for a pod failed.

use std::path::PathBuf;

/// The agent as a whole.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("the agent ended")]
    Ended,
    #[error("{operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Volumes(#[from] mizzen_volumes::VolumeError),
}

/// One step for one pod; the text goes into the pod's events.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    #[error("cgroup {path}: {why}")]
    Cgroup { path: String, why: String },
    #[error(transparent)]
    Network(#[from] mizzen_network::NetworkError),
    #[error(transparent)]
    Policies(#[from] mizzen_policy::NotInPlace),
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
    Volume {
        volume: String,
        #[source]
        source: mizzen_volumes::VolumeError,
    },
    #[error(transparent)]
    Volumes(#[from] mizzen_volumes::VolumeError),
    #[error(transparent)]
    Runtime(#[from] mizzen_runtime::RuntimeError),
    #[error(transparent)]
    Image(#[from] mizzen_images::ImageError),
    /// What the manifest asks for cannot be made: `CreateContainerConfigError`.
    #[error("{0}")]
    Config(String),
    #[error("{operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Api(#[from] mizzen_reconcile::Error),
    #[error("RuntimeClass {0:?} not found")]
    RuntimeClass(String),
    #[error("no runtime for {handler:?} is configured")]
    Handler { handler: String },
    #[error("the handler {handler:?} runs {}", if *runs_wasm { "WebAssembly only, and not all images are that" } else { "containers only, and the images are WebAssembly" })]
    HandlerOfOthers { handler: String, runs_wasm: bool },
    #[error("a worker ended before it answered")]
    Worker,
}

impl HookError {
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}
