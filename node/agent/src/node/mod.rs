//! The Node object: registered, kept fresh, and leased.

pub(crate) mod capacity;
pub(crate) mod lease;
pub(crate) mod register;
pub(crate) mod status;
