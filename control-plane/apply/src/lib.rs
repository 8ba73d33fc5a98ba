//! How a document changes: JSON patch, merge patch, strategic merge patch, and server-side apply with its managed
//! fields. Pure: no I/O, no clock; documents are [`serde_json::Value`]s, and what the merge has to know of a kind
//! comes from its [`mizzen_api::schema::SchemaSet`].
//!
//! A document is changed in place. When a patch fails, the document may be half patched: discard it.

mod bounds;
mod error;
pub mod json_patch;
pub mod managed;
pub mod merge_patch;
mod schema;
pub mod strategic;
#[cfg(test)]
mod test_schema;

pub use bounds::MAX_DEPTH;
pub use error::PatchError;
