//! Scheduler plugins that are Wasm components, as [`crate::framework::Plugin`]s.
//!
//! [`column`] says what a column holds, [`columns`] keeps a guest's copy of the cluster up to date, [`guest`] makes sure
//! that whichever instance answers knows the cluster and the cycle, and [`plugin`] asks it what the framework asks.

mod column;
mod columns;
mod guest;
mod plugin;
mod pod;
mod view;

pub use column::UnknownColumn;
pub use plugin::{FailurePolicy, Mode, ShadowCounts, WasmPlugin};
