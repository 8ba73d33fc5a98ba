//! Structural schemas: what a definition says of its documents, and what follows from it for a document.

mod check;
mod default;
mod format;
mod list_type;
mod parse;
mod prune;
mod publish;
mod shape;
mod structural;
mod validate;

pub use check::{Level, check};
pub use default::apply_defaults;
pub(crate) use list_type::Correlated;
pub use prune::prune;
pub use publish::{keeps_everything, published, published_list};
pub use shape::shape;
pub use structural::{Limits, ListType, Rule, Structural, Type};
pub use validate::validate;
