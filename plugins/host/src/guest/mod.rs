//! Instances: what they have at hand, how they are called, and how they are kept.

pub(crate) mod call;
mod data;
mod imports;
pub(crate) mod instances;
mod previous;
pub(crate) mod versions;
pub(crate) mod wasi;

pub(crate) use data::Data;
pub(crate) use imports::linker;
