//! One pod on this node: what is known of it, what to do next, and how the API is told.

mod act;
pub(crate) mod allocation;
pub(crate) mod backoff;
pub(crate) mod conditions;
pub(crate) mod containers;
pub(crate) mod decide;
pub(crate) mod handle;
mod health;
pub(crate) mod labels;
mod last_words;
pub(crate) mod manager;
pub(crate) mod memory;
pub(crate) mod outcome;
pub(crate) mod phase;
pub(crate) mod publish;
mod resizing;
pub(crate) mod sources;
pub(crate) mod status;
pub(crate) mod view;
pub(crate) mod worker;

#[cfg(test)]
pub(crate) mod fixtures;
