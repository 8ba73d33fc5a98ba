//! One mutation of a policy.

use serde_json::Value;

use super::program::Program;
use crate::cel::{Objects, Scope};

#[derive(Debug)]
pub struct Mutation {
    program: Program,
    is_apply: bool,
}

/// What a mutation does to the object.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// A configuration that is merged in, as server-side apply does.
    Apply(Value),
    /// A list of operations (RFC 6902).
    Json(Value),
}

impl Mutation {
    pub(super) fn parse(document: &Value) -> Option<Self> {
        let is_apply = document["patchType"] == "ApplyConfiguration";
        let field = if is_apply { "applyConfiguration" } else { "jsonPatch" };
        let source = document[field]["expression"].as_str()?;
        Some(Self { program: Program::new(source, Objects::Built), is_apply })
    }

    /// # Errors
    /// Why there is no patch.
    pub fn patch(&self, scope: &mut Scope) -> Result<Patch, String> {
        let answer = self.program.compiled().and_then(|program| scope.document(program));
        let answer = answer.map_err(|error| format!("expression '{}' resulted in error: {error}", self.program.source))?;
        Ok(if self.is_apply { Patch::Apply(answer) } else { Patch::Json(answer) })
    }
}
