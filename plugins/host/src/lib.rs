//! Loads, checks, limits and calls plugins: Wasm components that somebody else wrote.
//!
//! Policies of Kubewarden, which are core modules, are loaded and called as those of our own world are.
//!
//! [`Host`] turns bytes into an [`Artifact`], compiled once per digest; [`PolicyPlugin`] and [`SchedulerPlugin`] are
//! artifacts with settings, whose instances are kept warm. A call runs on the caller's thread, without an executor: it ends
//! at its deadline, cannot have more memory than its limit, and an instance that trapped is replaced. A plugin that fails
//! again and again is left alone for a while ([`CallError::Open`]). What a failure means (open or closed) is the caller's to say.
//!
//! A plugin is replaced by putting another one in its place: calls under way end on the one they began with.

mod artifact;
mod bindings;
mod error;
mod guest;
mod kubewarden;
mod plugin;
mod runtime;

pub mod policy;
pub mod scheduler;

pub use artifact::{Artifact, Minor, World};
pub use error::{CallError, LoadError};
pub use kubewarden::{ContextAwareResource, ExecutionMode, Metadata, Outside, is_outside};
pub use plugin::PluginOptions;
pub use plugin::grants::Grants;
pub use plugin::histogram::CallTimes;
pub use plugin::limits::Limits;
pub use plugin::log::{Level, LogSink, TracingLog};
pub use plugin::metrics::{Metric, MetricKind};
pub use plugin::stats::{Breaker as BreakerState, Status};
pub use policy::PolicyPlugin;
pub use runtime::{Host, HostOptions};
pub use scheduler::SchedulerPlugin;
