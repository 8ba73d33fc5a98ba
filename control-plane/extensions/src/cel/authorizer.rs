//! The `authorizer` of admission expressions (Kubernetes' CEL library of that name).

use std::sync::Arc;

use kube_cel::cel::objects::Opaque;
use kube_cel::cel::{Context, ExecutionError, FunctionContext, Value};

use super::budget::spend;

/// What `authorizer.requestResource` is called once it is parsed.
pub const REQUEST_RESOURCE: &str = "authorizer.requestResource";
/// What a question costs, as Kubernetes has it.
const CHECK_COST: i64 = 350_000;

/// What an expression asks of the authorizer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// Set for a path outside the resources.
    pub path: Option<String>,
    /// Asks for a service account, as namespace and name, instead of the request's user.
    pub service_account: Option<(String, String)>,
}

/// Answers whether, and why.
pub trait Authority: Send + Sync + 'static {
    fn decide(&self, question: &Question) -> (bool, String);
}

/// A question that is being put together, and the answer once there is one.
#[derive(Clone)]
pub(super) struct Check {
    authority: Arc<dyn Authority>,
    question: Question,
    decision: Option<(bool, String)>,
}

impl Check {
    pub(super) fn value(authority: Arc<dyn Authority>, question: Question) -> Value {
        Value::Opaque(Arc::new(Self { authority, question, decision: None }))
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("question", &self.question).field("decision", &self.decision).finish_non_exhaustive()
    }
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        self.question == other.question && self.decision == other.decision
    }
}

impl Eq for Check {}

impl Opaque for Check {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.authorization.Authorizer"
    }
}

pub(super) fn add_functions(context: &mut Context<'_>) {
    for name in ["group", "resource", "subresource", "namespace", "name", "path", "check", "serviceAccount"] {
        context.add_function(name, move |ftx: &FunctionContext| ask(ftx, name));
    }
    for name in ["allowed", "reason", "errored", "error"] {
        context.add_function(name, move |ftx: &FunctionContext| answer(ftx, name));
    }
}

fn this(ftx: &FunctionContext) -> Result<Check, ExecutionError> {
    let Some(Value::Opaque(value)) = &ftx.this else { return Err(ExecutionError::NoSuchOverload) };
    value.downcast_ref::<Check>().cloned().ok_or(ExecutionError::NoSuchOverload)
}

fn ask(ftx: &FunctionContext, name: &str) -> Result<Value, ExecutionError> {
    let mut check = this(ftx)?;
    let mut texts = Vec::new();
    for arg in ftx.args {
        let Value::String(text) = Value::resolve(arg, ftx.ptx)? else { return Err(ExecutionError::NoSuchOverload) };
        texts.push(text.to_string());
    }
    let question = &mut check.question;
    match (name, texts.as_slice()) {
        ("serviceAccount", [namespace, name]) => question.service_account = Some((namespace.clone(), name.clone())),
        ("group", [text]) => question.group.clone_from(text),
        ("resource", [text]) => question.resource.clone_from(text),
        ("subresource", [text]) => question.subresource.clone_from(text),
        ("namespace", [text]) => question.namespace.clone_from(text),
        ("name", [text]) => question.name.clone_from(text),
        ("path", [text]) => question.path = Some(text.clone()),
        ("check", [text]) => {
            spend(CHECK_COST)?;
            question.verb.clone_from(text);
            check.decision = Some(check.authority.decide(&check.question));
        }
        _ => return Err(ExecutionError::NoSuchOverload),
    }
    Ok(Value::Opaque(Arc::new(check)))
}

fn answer(ftx: &FunctionContext, name: &str) -> Result<Value, ExecutionError> {
    let Some((allowed, reason)) = this(ftx)?.decision else { return Err(ExecutionError::NoSuchOverload) };
    Ok(match name {
        "allowed" => Value::Bool(allowed),
        "reason" => Value::String(Arc::new(reason)),
        // Deciding cannot fail here.
        "errored" => Value::Bool(false),
        _ => Value::String(Arc::new(String::new())),
    })
}
