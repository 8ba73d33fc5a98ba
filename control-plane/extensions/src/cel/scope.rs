//! Evaluating with named documents at hand, on one budget.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{ExecutionError, Value as Cel};
use serde_json::Value;

use super::authorizer::{Authority, Check, Question, REQUEST_RESOURCE};
use super::budget::{PER_CALL, PER_OBJECT, with_limit};
use super::functions::with_functions;
use super::parse::Compiled;
use super::rules::run;
use super::value::{plain, to_json};

/// The documents that expressions of one policy, or of one webhook, may look at, and what evaluating them may still cost.
#[derive(Clone)]
pub struct Scope {
    documents: Vec<(&'static str, Cel)>,
    /// `variables`, where they could be evaluated.
    variables: HashMap<Key, Cel>,
    left: i64,
}

impl Default for Scope {
    fn default() -> Self {
        Self { documents: Vec::new(), variables: HashMap::new(), left: PER_OBJECT }
    }
}

impl Scope {
    /// Gives a document a name, or another document to a name; `None` is `null`.
    pub fn set(&mut self, name: &'static str, document: Option<&Value>) {
        self.put(name, document.map_or(Cel::Null, plain));
    }

    /// Lets expressions ask `authorizer`, and about the request's own resource.
    pub fn authorize(&mut self, authority: Arc<dyn Authority>, request: Question) {
        self.put("authorizer", Check::value(authority.clone(), Question::default()));
        self.put(REQUEST_RESOURCE, Check::value(authority, request));
    }

    fn put(&mut self, name: &'static str, value: Cel) {
        self.documents.retain(|(known, _)| *known != name);
        self.documents.push((name, value));
    }

    /// Makes the answer of an expression one of `variables`. One that fails is missed by those that use it.
    pub fn define(&mut self, name: &str, program: &Compiled) {
        match self.answer(program) {
            Ok(value) => drop(self.variables.insert(Key::String(Arc::new(name.to_owned())), value)),
            Err(error) => tracing::debug!(name, error, "evaluate a variable of a policy"),
        }
    }

    /// # Errors
    /// Why there is no answer, or that it is not a boolean.
    pub fn holds(&mut self, program: &Compiled) -> Result<bool, String> {
        match self.answer(program)? {
            Cel::Bool(answer) => Ok(answer),
            _ => Err("cel expression must evaluate to a bool".to_owned()),
        }
    }

    /// A text; `None` for `null`.
    ///
    /// # Errors
    /// Why there is no answer, or that it is no text.
    pub fn text(&mut self, program: &Compiled) -> Result<Option<String>, String> {
        match self.answer(program)? {
            Cel::String(text) => Ok(Some(text.to_string())),
            Cel::Null => Ok(None),
            _ => Err("cel expression must evaluate to a string".to_owned()),
        }
    }

    /// The answer as a document.
    ///
    /// # Errors
    /// Why there is no answer, or that it has no form in JSON.
    pub fn document(&mut self, program: &Compiled) -> Result<Value, String> {
        to_json(&self.answer(program)?)
    }

    fn answer(&mut self, program: &Compiled) -> Result<Cel, String> {
        if self.left < 0 {
            return Err("validation failed due to running out of cost budget, no further validation rules will be run".to_owned());
        }
        let variables = Cel::Map(Map { map: Arc::new(self.variables.clone()) });
        let (answer, spent) = with_functions(|functions| {
            let mut scope = functions.new_inner_scope();
            for (name, value) in &self.documents {
                scope.add_variable_from_value(*name, value.clone());
            }
            scope.add_variable_from_value("variables", variables);
            with_limit(PER_CALL.min(self.left), || run(program, &scope))
        });
        match spent {
            Some(spent) => self.left -= spent,
            None => {
                self.left = -1;
                return Err("operation cancelled: actual cost limit exceeded".to_owned());
            }
        }
        answer.map_err(|error| match error {
            ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
            ExecutionError::NoSuchOverload => "no such overload".to_owned(),
            error => error.to_string(),
        })
    }
}
