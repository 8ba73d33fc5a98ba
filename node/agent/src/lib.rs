//! The node agent: registers its node, runs the pods bound to it, reports how they are, and serves the node API.
//!
//! For each pod a worker goes round: snapshot, decide (a pure function), act, wait for something to change. Steps are
//! idempotent and what runs is found again by its labels, so that the agent may be killed at any line.

pub mod cgroups;

mod agent;
mod config;
mod duration;
mod error;
mod hooks;
mod logs;
mod node;
mod node_api;
mod pod;
mod probes;
mod pulled;
mod shared;
mod spec;
mod tunnel;

pub use agent::Agent;
pub use config::{AgentConfig, Registration, Runtimes};
pub use error::AgentError;
pub use mizzen_runtime::LogLimits;
pub use node::image_gc::Thresholds;
pub use node::pressure::{EvictionHard, Least, ParseLeastError};
pub use pod::labels::IMAGE_ID as IMAGE_ID_LABEL;
pub use tunnel::Tunnel;
