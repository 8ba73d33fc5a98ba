//! The scheduler: chooses a node for every pod that has none, and binds it there.
//!
//! [`cluster`] mirrors nodes and pods; [`queue`] says which pod is next; [`cycle`] decides, through the plugins of
//! [`framework`], on one immutable [`snapshot::Snapshot`]; [`binding`] carries the decision out.

mod binding;
mod cluster;
mod cycle;
mod diagnosis;
pub mod framework;
pub mod node;
pub mod plugins;
pub mod pod;
mod queue;
pub mod resources;
mod scheduler;
pub mod snapshot;

pub use scheduler::{Scheduler, SchedulerConfig};
