//! Parsing of expressions.

use kube_cel::cel::parser::{Expression, Parser};

use super::rewrite;

/// Longer expressions are refused, in bytes.
const MAX_SOURCE: usize = 16 * 1024;
/// The parser recurses as deep as the expression nests; so does dropping a tree, and evaluating.
pub(super) const STACK_BYTES: usize = 64 << 20;

/// An expression, ready to be evaluated on a budget.
#[derive(Debug)]
pub struct Compiled {
    pub(super) expression: Expression,
    pub(super) uses_old_self: bool,
}

impl Compiled {
    /// Whether the expression looks at the value as it was before.
    pub fn uses_old_self(&self) -> bool {
        self.uses_old_self
    }
}

/// # Errors
/// Why the expression cannot be used, in one line.
pub fn compile(source: &str) -> Result<Compiled, String> {
    compile_with(source, Objects::None)
}

/// Whether an expression may build objects (`Object{}`, `JSONPatch{}`), as mutations do.
#[derive(Clone, Copy)]
pub enum Objects {
    None,
    Built,
}

/// # Errors
/// Why the expression cannot be used, in one line.
pub fn compile_with(source: &str, objects: Objects) -> Result<Compiled, String> {
    if source.trim().is_empty() {
        return Err("ERROR: <input>:1:1: Syntax error: the expression is empty".to_owned());
    }
    if source.len() > MAX_SOURCE {
        return Err(format!(
            "ERROR: <input>: expression code point size exceeds limit: size: {}, limit {MAX_SOURCE}",
            source.len()
        ));
    }
    let source = source.to_owned();
    let parsing =
        std::thread::Builder::new().name("cel-parse".to_owned()).stack_size(STACK_BYTES).spawn(move || parse(&source, objects));
    match parsing.map(std::thread::JoinHandle::join) {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(_panic)) => Err("ERROR: <input>: the expression cannot be parsed".to_owned()),
        Err(error) => Err(format!("start the thread that parses: {error}")),
    }
}

fn parse(source: &str, objects: Objects) -> Result<Compiled, String> {
    let parser = Parser::new().enable_optional_syntax(true);
    let parsed = parser.parse(source).map_err(|errors| one_line(&errors.to_string()))?;
    if !rewrite::is_shallow(&parsed) {
        return Err("ERROR: <input>: expression recursion limit exceeded".to_owned());
    }
    if matches!(objects, Objects::None) && rewrite::builds_objects(&parsed) {
        return Err("ERROR: <input>: messages cannot be evaluated".to_owned());
    }
    let uses_old_self = parsed.references().has_variable("oldSelf");
    Ok(Compiled { expression: rewrite::rewrite(parsed)?, uses_old_self })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
