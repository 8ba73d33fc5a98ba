//! Volumes of pods, one file per kind, each set up idempotently below a directory of the pod's own.
//!
//! `setup` may be called again at any time: it makes what is missing and brings projected files up to date by an atomic
//! swap, so that a process never sees half of an update.

mod atomic;
mod context;
mod error;
pub mod fields;
mod kinds;
mod manager;
mod mounts;
mod ownership;
mod payload;
mod subpath;
mod token;

pub use context::PodContext;
pub use error::VolumeError;
pub use manager::{Mounted, VolumeManager};
