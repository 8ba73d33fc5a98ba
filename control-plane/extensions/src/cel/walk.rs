//! The walk through an expression that tells what each part of it is, what is wrong with it, and what its loops may cost.

use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use mizzen_api::schema::Shape;

use super::access::GET;
use super::functions::{KEEP, KEYS, OPTIONAL_SELECT, RANGE};
use super::inferred::{Known, child, child_in, element, is_search, not_in, plain};
use super::known;
use super::rewrite::children;
use super::types::{self, Plain};
use crate::schema::{Structural, Type};

/// The largest document, in bytes: what a list without `maxItems` can hold at most.
const MAX_DOCUMENT: u64 = 3 * 1024 * 1024;

pub struct Walk<'a> {
    variables: Vec<(&'a str, Known<'a>)>,
    wrong: Option<String>,
}

impl<'a> Walk<'a> {
    pub fn new(variables: Vec<(&'a str, Known<'a>)>) -> Self {
        Self { variables, wrong: None }
    }

    /// The first thing that was found to be wrong.
    pub fn into_wrong(self) -> Option<String> {
        self.wrong
    }

    /// What an expression is, and what it may cost.
    pub fn expression(&mut self, expression: &'a IdedExpr) -> (Known<'a>, u64) {
        match &expression.expr {
            Expr::Literal(literal) => (types::of_literal(literal).map_or(Known::Unknown, Known::Plain), 0),
            Expr::Ident(name) => (self.variable(name), 1),
            Expr::Select(select) => {
                let (operand, cost) = self.expression(&select.operand);
                (self.field(operand, &select.field), cost.saturating_add(1))
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            _ => self.collection(expression),
        }
    }

    fn variable(&mut self, name: &str) -> Known<'a> {
        if let Some((_, known)) = self.variables.iter().rev().find(|(known, _)| *known == name) {
            return *known;
        }
        self.wrong(format!("undeclared reference to '{name}' (in container '')"));
        Known::Unknown
    }

    fn call(&mut self, call: &'a CallExpr) -> (Known<'a>, u64) {
        // The package of a function is no variable: `sets.contains`.
        let package = match call.target.as_deref().map(|target| &target.expr) {
            Some(Expr::Ident(name)) => Some(name).filter(|name| !self.variables.iter().any(|(known, _)| known == *name)),
            _ => None,
        };
        let name = package.map(|package| format!("{package}.{}", call.func_name));
        if !known::is_function(name.as_deref().unwrap_or(&call.func_name)) {
            let what = package.filter(|_| known::is_function(&call.func_name)).unwrap_or(&call.func_name);
            self.wrong(format!("undeclared reference to '{what}' (in container '')"));
        }
        let mut cost = u64::from(call.func_name != GET);
        let mut operands = Vec::new();
        for operand in call.target.iter().map(AsRef::as_ref).filter(|_| package.is_none()).chain(&call.args) {
            let (known, spent) = self.expression(operand);
            cost = cost.saturating_add(spent);
            operands.push(known);
        }
        (self.outcome_of(call, package.is_some(), &operands), cost)
    }

    fn outcome_of(&mut self, call: &CallExpr, is_packaged: bool, operands: &[Known<'a>]) -> Known<'a> {
        match (call.func_name.as_str(), operands) {
            (GET | KEEP | RANGE, [found, ..]) => *found,
            (KEYS, [Known::Of(schema, _), ..]) => Known::KeyOf(schema),
            (operators::INDEX | operators::OPT_INDEX, [Known::Of(schema, _), ..]) => {
                let element = schema.items.as_deref().or(schema.additional.as_deref());
                element.map_or(Known::Unknown, |element| Known::Of(element, element.embedded))
            }
            (operators::INDEX, [Known::In(set, schema), ..]) => element(set, schema),
            (OPTIONAL_SELECT, [operand, ..]) => match (*operand, call.args.get(1).map(|arg| &arg.expr)) {
                (Known::Of(schema, whole), Some(Expr::Literal(LiteralValue::String(name)))) => {
                    child(schema, whole, name.inner()).unwrap_or(Known::Unknown)
                }
                _ => Known::Unknown,
            },
            (function, [sought, range]) if is_search(function) => {
                if let Some(wrong) = not_in(*sought, *range) {
                    self.wrong(wrong);
                }
                Known::Plain(Plain::Bool)
            }
            // Packages have functions of the same names for other things.
            _ if is_packaged => Known::Unknown,
            (function, operands) => {
                let plains: Vec<Option<Plain>> = operands.iter().map(|operand| plain(*operand)).collect();
                match types::of_call(function, &plains) {
                    Ok(found) => found.map_or(Known::Unknown, Known::Plain),
                    Err(wrong) => {
                        self.wrong(wrong);
                        Known::Unknown
                    }
                }
            }
        }
    }

    fn comprehension(&mut self, it: &'a ComprehensionExpr) -> (Known<'a>, u64) {
        let (range, range_cost) = self.expression(&it.iter_range);
        let (init, init_cost) = self.expression(&it.accu_init);
        let depth = self.variables.len();
        self.variables.push((&it.accu_var, init));
        self.variables.push((&it.iter_var, each_of(range)));
        let (_, condition) = self.expression(&it.loop_cond);
        let (_, step) = self.expression(&it.loop_step);
        let (known, result) = self.expression(&it.result);
        self.variables.truncate(depth);
        let looped = size(range).saturating_mul(condition.saturating_add(step).min(u64::MAX / 4));
        (known, range_cost.saturating_add(init_cost).saturating_add(looped).saturating_add(result))
    }

    /// A list, a map or a structure that is written out.
    fn collection(&mut self, expression: &'a IdedExpr) -> (Known<'a>, u64) {
        let (mut cost, mut types) = (0_u64, Vec::new());
        for child in children(expression) {
            let (known, spent) = self.expression(child);
            cost = cost.saturating_add(spent);
            types.push(plain(known));
        }
        let known = match &expression.expr {
            Expr::List(_) => match types.split_first() {
                Some((Some(first), rest)) if rest.iter().all(|plain| plain.as_ref() == Some(first)) => Known::ListOf(*first),
                _ => Known::Plain(Plain::List),
            },
            Expr::Map(_) => Known::Plain(Plain::Map),
            _ => Known::Unknown,
        };
        (known, cost)
    }

    fn field(&mut self, operand: Known<'a>, name: &str) -> Known<'a> {
        if let Some(scalar) = plain(operand).filter(|plain| *plain != Plain::Map) {
            self.wrong(format!("type '{}' does not support field selection", scalar.as_str()));
            return Known::Unknown;
        }
        let found = match operand {
            Known::Of(schema, whole) => child(schema, whole, name),
            Known::In(set, schema) => child_in(set, schema, name),
            _ => return Known::Unknown,
        };
        found.unwrap_or_else(|| {
            self.wrong(format!("undefined field '{name}'"));
            Known::Unknown
        })
    }

    fn wrong(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}

/// What a loop over the value takes one by one.
fn each_of(range: Known<'_>) -> Known<'_> {
    match range {
        Known::Of(schema, _) => match (&schema.items, &schema.additional) {
            (Some(items), _) => Known::Of(items, items.embedded),
            (None, Some(_)) => Known::KeyOf(schema),
            _ => Known::Unknown,
        },
        Known::ListOf(items) => Known::Plain(items),
        Known::In(set, schema) => match &set.resolve(schema).shape {
            Shape::Map { .. } => Known::Plain(Plain::Text),
            _ => element(set, schema),
        },
        _ => Known::Unknown,
    }
}

/// How many rounds a loop over the value can take.
fn size(range: Known<'_>) -> u64 {
    match range {
        Known::Of(schema, _) => match schema.kind {
            Type::Array => {
                let smallest = schema.items.as_deref().map_or(1, smallest);
                schema.limits.max_items.unwrap_or(MAX_DOCUMENT / smallest.saturating_add(1))
            }
            Type::Object => schema
                .limits
                .max_properties
                .unwrap_or_else(|| MAX_DOCUMENT / schema.additional.as_deref().map_or(1, smallest).saturating_add(4)),
            _ => 1,
        },
        Known::KeyOf(schema) => size(Known::Of(schema, false)),
        Known::In(..) | Known::Plain(_) | Known::ListOf(_) | Known::Unknown => 1,
    }
}

/// The bytes that a value takes at least.
fn smallest(schema: &Structural) -> u64 {
    match schema.kind {
        Type::Boolean => 4,
        Type::String => schema.limits.min_length.unwrap_or(0).saturating_add(2),
        Type::Array => 2,
        Type::Object => {
            let required = schema.limits.required.iter();
            let fields = required.filter_map(|name| Some((name.len() as u64 + 4, smallest(schema.properties.get(name)?))));
            fields.fold(2, |sum: u64, (name, value)| sum.saturating_add(name).saturating_add(value))
        }
        Type::Any | Type::Integer | Type::Number => 1,
    }
}
