//! The scheduler: chooses a node for every pod that has none, and binds it there.
//!
//! [`cluster`] mirrors nodes and pods; [`queue`] says which pod is next; [`cycle`] decides, through the plugins of
//! [`framework`] that the pod's [`profile`] has (native ones, and components by way of [`wasm`]), on one
//! [`snapshot::Snapshot`]; [`binding`] carries the decision out. [`explain`] makes one for who wants to know why.

mod apart;
mod binding;
pub mod budget;
mod cluster;
mod cycle;
mod diagnosis;
pub mod explain;
pub mod framework;
pub mod node;
mod onlookers;
mod permit;
pub mod plugins;
pub mod pod;
mod preemption;
pub mod profile;
mod queue;
pub mod relations;
pub mod resources;
mod scheduler;
pub mod snapshot;
pub mod volumes;
pub mod wasm;

pub use cycle::{Cycle, Decision};
pub use diagnosis::Diagnosis;
pub use scheduler::{Scheduler, SchedulerConfig};
