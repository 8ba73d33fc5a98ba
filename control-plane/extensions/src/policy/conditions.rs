//! `matchConditions` of policies and webhooks.

use serde_json::Value;

use super::items;
use super::program::Program;
use crate::cel::Scope;

#[derive(Debug)]
pub struct Conditions(Vec<Program>);

/// How conditions went.
#[derive(Debug, PartialEq, Eq)]
pub enum Met {
    Yes,
    No,
    /// None is false, and some could not be evaluated.
    Failed(String),
}

impl Conditions {
    /// The conditions of a policy's spec or of a webhook.
    pub fn parse(document: &Value) -> Self {
        Self(items(document, "matchConditions").map(|condition| Program::of(condition, "expression")).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One that is false decides, whatever the others say.
    pub fn met(&self, scope: &mut Scope) -> Met {
        let mut failed = Vec::new();
        for condition in &self.0 {
            match condition.compiled().and_then(|program| scope.holds(program)) {
                Ok(true) => {}
                Ok(false) => return Met::No,
                Err(error) => failed.push(format!("expression '{}' resulted in error: {error}", condition.source)),
            }
        }
        if failed.is_empty() { Met::Yes } else { Met::Failed(failed.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_false_condition_outweighs_one_that_fails() {
        let conditions = |expressions: &[&str]| {
            let list: Vec<Value> = expressions.iter().map(|text| json!({"name": "a", "expression": text})).collect();
            Conditions::parse(&json!({"matchConditions": list})).met(&mut Scope::default())
        };
        assert_eq!(conditions(&[]), Met::Yes);
        assert_eq!(conditions(&["1 / 0 == 1", "false"]), Met::No);
        assert!(matches!(conditions(&["1 / 0 == 1", "true"]), Met::Failed(_)));
    }
}
