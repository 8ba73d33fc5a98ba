//! Puts plugins to work: follows the objects of `mizzen.dev`, gets their components from registries, and keeps those that are
//! good.
//!
//! Level-triggered: an object says which image and which settings are wanted, [`Table`]s hold what is at work. A component
//! that cannot be loaded never replaces one that was: the object's conditions and events say why, and the other works on. What
//! is at work is kept on disk by digest, so that neither a restart nor a registry that went away changes anything.

mod context;
mod fetch;
mod loads;
mod login;
mod meter;
mod policies;
mod reconcile;
mod record;
mod refusal;
mod start;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod trust;
mod wanted;

pub use context::{Need, Seen};
pub use fetch::{Component, Fetch, Registries};
pub use loads::{Loads, Shadow, Statistics};
pub use policies::{CONTEXT, LoadedPolicy, Offer, PolicyEngine, RunningPolicy};
pub use refusal::Refusal;
pub use start::{Plugins, PluginsError, PolicyTables};
pub use table::{Live, Table};
pub use trust::Trust;
pub use wanted::{Terms, Wanted};
