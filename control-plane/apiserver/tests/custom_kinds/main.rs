//! Custom kinds over TLS, as clients see them.

mod conversion;
mod definitions;
mod objects;
mod served;
mod serving;
#[path = "../support/mod.rs"]
mod support;
