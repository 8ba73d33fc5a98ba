//! One validation of a policy.

use serde_json::Value;

use super::program::Program;
use crate::cel::Scope;

/// Longer answers of message expressions are not used, in bytes.
const MAX_MESSAGE: usize = 5 * 1024;

#[derive(Debug)]
pub struct Validation {
    program: Program,
    message: Option<String>,
    message_program: Option<Program>,
    reason: Option<String>,
}

/// Why a request is not to be admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub message: String,
    /// The reason of the answer, if the validation gives one.
    pub reason: Option<String>,
    /// Which of the validations it is.
    pub index: usize,
}

impl Denial {
    pub fn because(message: String) -> Self {
        Self { message, reason: None, index: 0 }
    }
}

impl Validation {
    pub(super) fn parse(document: &Value) -> Self {
        let text = |field: &str| document[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            program: Program::of(document, "expression"),
            message: text("message"),
            message_program: text("messageExpression").map(|_| Program::of(document, "messageExpression")),
            reason: text("reason"),
        }
    }

    pub(super) fn denial(&self, scope: &mut Scope, ignores_failures: bool) -> Option<Denial> {
        match self.program.compiled().and_then(|program| scope.holds(program)) {
            Ok(true) => None,
            Ok(false) => Some(Denial { message: self.text(scope), reason: self.reason.clone(), index: 0 }),
            Err(_) if ignores_failures => None,
            Err(error) => Some(Denial::because(format!("expression '{}' resulted in error: {error}", self.program.source))),
        }
    }

    /// The message expression's answer if it is fit to be shown, else the message, else the expression.
    fn text(&self, scope: &mut Scope) -> String {
        let answer = self.message_program.as_ref().and_then(|program| scope.text(program.compiled().ok()?).ok().flatten());
        let answer = answer.map(|text| text.trim().to_owned());
        if let Some(text) = answer.filter(|text| !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n')) {
            return text;
        }
        match &self.message {
            Some(message) => message.trim().to_owned(),
            None => format!("failed expression: {}", self.program.source),
        }
    }
}
