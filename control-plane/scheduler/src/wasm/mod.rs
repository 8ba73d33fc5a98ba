//! Scheduler plugins that are Wasm components, as [`crate::framework::Plugin`]s.
//!
//! [`column`] says what a column holds, [`columns`] keeps a guest's copy of the cluster up to date, [`guest`] makes sure
//! that whichever instance answers knows the cluster and the cycle, [`component`] holds what outlives a change of the part that
//! it takes, [`plugin`] asks it what the framework asks, and [`roster`] puts it where its object says.

mod annotations;
mod column;
mod columns;
mod component;
mod guest;
mod plugin;
mod pod;
mod roster;
mod view;

pub use column::UnknownColumn;
pub use component::{Component, ShadowCounts};
pub use plugin::{FailurePolicy, Mode, WasmPlugin};
pub use roster::Roster;
