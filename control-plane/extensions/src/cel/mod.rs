//! Validation rules (`x-kubernetes-validations`) in the Common Expression Language.
//!
//! Expressions come from users: they are parsed on a thread of their own with a known stack, may not nest deeply, and run
//! on a budget, so that no rule can hold up or bring down the server.

mod budget;
mod build;
mod check;
mod functions;
mod names;
mod parse;
mod rewrite;
mod rules;
mod value;

pub use check::{MAX_RULE_COST, MAX_TOTAL_COST, check_rules};
pub use parse::{Compiled, compile};
pub use rules::validate_rules;
