//! Expressions in the Common Expression Language: validation rules of schemas (`x-kubernetes-validations`), and what
//! admission policies and webhooks ask.
//!
//! Expressions come from users: they are parsed on a thread of their own with a known stack, may not nest deeply, and run
//! on a budget, so that no rule can hold up or bring down the server.

mod access;
mod authorizer;
mod budget;
mod build;
mod check;
mod collect;
mod functions;
mod inferred;
mod known;
mod names;
mod parse;
mod rewrite;
mod rules;
mod scope;
mod types;
mod value;
mod walk;

pub use authorizer::{Authority, Question, REQUEST_RESOURCE};
pub use check::{MAX_RULE_COST, MAX_TOTAL_COST, Mistyped, Subject, Typed, check_rules, check_types};
pub use parse::{Compiled, Objects, compile, compile_with};
pub use rules::validate_rules;
pub use scope::Scope;
pub use types::Plain;
