//! One expression of a policy.

use serde_json::Value;

use crate::cel::{Compiled, Objects, compile_with};

#[derive(Debug)]
pub struct Program {
    pub source: String,
    compiled: Result<Compiled, String>,
}

impl Program {
    pub(super) fn of(document: &Value, field: &str) -> Self {
        Self::new(document[field].as_str().unwrap_or_default(), Objects::None)
    }

    pub(super) fn new(source: &str, objects: Objects) -> Self {
        Self { source: source.trim().to_owned(), compiled: compile_with(source, objects) }
    }

    /// # Errors
    /// Why it cannot be evaluated.
    pub fn compiled(&self) -> Result<&Compiled, String> {
        self.compiled.as_ref().map_err(|error| format!("compilation error: {error}"))
    }
}
