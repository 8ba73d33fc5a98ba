//! One audit annotation of a policy.

use serde_json::Value;

use super::program::Program;
use crate::cel::Scope;

/// Longer values are cut, in bytes.
const MAX_VALUE: usize = 10 * 1024;

#[derive(Debug)]
pub struct AuditAnnotation {
    /// Without the policy's name, which goes before it.
    pub key: String,
    program: Program,
}

impl AuditAnnotation {
    pub(super) fn parse(document: &Value) -> Self {
        let key = document["key"].as_str().unwrap_or_default().to_owned();
        Self { key, program: Program::of(document, "valueExpression") }
    }

    /// What to note; `None` when the expression gives `null` or nothing.
    ///
    /// # Errors
    /// Why there is no value.
    pub fn value(&self, scope: &mut Scope) -> Result<Option<String>, String> {
        let value = self.program.compiled().and_then(|program| scope.text(program));
        let value = value.map_err(|error| format!("expression '{}' resulted in error: {error}", self.program.source))?;
        Ok(value.map(|text| cut(text.trim())).filter(|text| !text.is_empty()))
    }
}

fn cut(text: &str) -> String {
    let end = (0..=MAX_VALUE.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].to_owned()
}
