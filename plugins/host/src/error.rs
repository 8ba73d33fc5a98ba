//! What can go wrong with a plugin.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a plugin is not loaded. Said to the person who applied it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("not a WebAssembly component or module")]
    NotWasm,
    #[error("the component is too large: {size} bytes, at most {most} are allowed")]
    TooLarge { size: usize, most: usize },
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    #[error("the component exports neither mizzen:scheduler/plugin nor mizzen:policy/policy, but {exports}")]
    NoWorld { exports: String },
    #[error("the component is {found}, and {wanted} is needed")]
    WrongWorld { found: String, wanted: &'static str },
    #[error("the Kubewarden policy cannot be run: {0}")]
    Kubewarden(String),
    #[error("the component was built for {name}, this server offers {offered}: {advice}")]
    Version { name: String, offered: String, advice: &'static str },
    /// Nothing grants it.
    #[error("the component imports {name}, which is not granted")]
    Import { name: String },
    /// Granted, but there is no such thing here.
    #[error("the component imports {name}, which this server does not offer")]
    Unoffered { name: String },
    /// Kubewarden's, which the policy says that it needs.
    #[error("the policy needs the host capability {name}, which is not granted")]
    Capability { name: String },
    #[error("the component cannot be linked: {0}")]
    Link(String),
    #[error("the settings are not valid: {0}")]
    Settings(String),
    #[error("the plugin failed while it was loaded: {0}")]
    Start(#[from] CallError),
    #[error("the engine for plugins cannot be made: {0}")]
    Engine(String),
    #[error("the cache of compiled plugins at {path}: {source}")]
    Cache { path: PathBuf, source: io::Error },
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The plugin failed too often and was not asked.
    #[error("{plugin} failed too often and is left alone for {} ms more", retry_in.as_millis())]
    Open { plugin: String, retry_in: Duration },
    #[error("{plugin}: {function} took longer than {} ms", deadline.as_millis())]
    Deadline { plugin: String, function: &'static str, deadline: Duration },
    #[error("{plugin}: {function} wanted more than {limit} bytes of memory")]
    Memory { plugin: String, function: &'static str, limit: usize },
    #[error("{plugin}: {function} trapped: {why}")]
    Trap { plugin: String, function: &'static str, why: String },
    /// An answer that cannot be one.
    #[error("{plugin}: {function} answered nonsense: {why}")]
    Answer { plugin: String, function: &'static str, why: String },
    #[error("{plugin} cannot be started: {why}")]
    Instance { plugin: String, why: String },
}

impl CallError {
    /// A word for metrics and conditions.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Open { .. } => "BreakerOpen",
            Self::Deadline { .. } => "DeadlineExceeded",
            Self::Memory { .. } => "OutOfMemory",
            Self::Trap { .. } => "Trapped",
            Self::Answer { .. } => "WrongAnswer",
            Self::Instance { .. } => "NotStarted",
        }
    }
}
