//! Looking at documents in place. The interpreter copies what a field holds, and what a function is given, whole: a rule that
//! asks `x in self.list` for every `x` would copy the list as often. Here fields are followed and values compared without
//! copies, and whoever wants a copy, or compares what is large, pays for it.

use std::borrow::Cow;
use std::cmp::Ordering;

use kube_cel::cel::common::ast::{Expr, IdedExpr, operators};
use kube_cel::cel::common::types::{CelBool, CelBytes, CelList, CelMap, CelOptional, CelString};
use kube_cel::cel::common::value::Val;
use kube_cel::cel::{Context, ExecutionError, FunctionContext, Value};

use super::budget::{spend, text_size};

/// The value at a path: fields and items of a variable.
pub(super) const GET: &str = "@get";
/// Whether there is a field at a path.
pub(super) const HAS: &str = "@has";

/// Operators whose work is as large as what they compare, and the functions that pay for it.
const COMPARED: [(&str, &str); 7] = [
    (operators::EQUALS, "@equals"),
    (operators::NOT_EQUALS, "@notEquals"),
    (operators::LESS, "@less"),
    (operators::LESS_EQUALS, "@lessEquals"),
    (operators::GREATER, "@greater"),
    (operators::GREATER_EQUALS, "@greaterEquals"),
    (operators::IN, "@isIn"),
];

/// The function that stands for an operator.
pub(super) fn compared(operator: &str) -> Option<&'static str> {
    COMPARED.iter().find(|(known, _)| *known == operator).map(|(_, function)| *function)
}

pub(super) fn add_functions(context: &mut Context<'_>) {
    context.add_function(GET, |ftx: &FunctionContext| -> Result<Value, ExecutionError> { get(ftx) });
    context.add_function(HAS, |ftx: &FunctionContext| -> Result<Value, ExecutionError> { has(ftx) });
    for (operator, function) in COMPARED {
        context.add_function(function, move |ftx: &FunctionContext| compare(ftx, operator));
    }
}

fn get(ftx: &FunctionContext) -> Result<Value, ExecutionError> {
    let [path] = ftx.args else { return Err(ExecutionError::NoSuchOverload) };
    let found = at(path, ftx.ptx)?;
    pay(size_of(&*found))?;
    Value::try_from(&*found)
}

fn has(ftx: &FunctionContext) -> Result<Value, ExecutionError> {
    let [IdedExpr { expr: Expr::Select(select), .. }] = ftx.args else { return Err(ExecutionError::NoSuchOverload) };
    let operand = at(&select.operand, ftx.ptx)?;
    let key: CelString = select.field.as_str().into();
    match operand.as_container().filter(|_| is_map(&*operand)) {
        Some(map) => Ok(Value::Bool(map.contains(&key)?)),
        None => Ok(Value::Bool(false)),
    }
}

fn compare(ftx: &FunctionContext, operator: &str) -> Result<Value, ExecutionError> {
    let [left, right] = ftx.args else { return Err(ExecutionError::NoSuchOverload) };
    let (left, right) = (look(left, ftx.ptx)?, look(right, ftx.ptx)?);
    let (left, right) = (&*left, &*right);
    pay(if operator == operators::IN { cost_of_search(right) } else { cost_of_comparison(left, right) })?;
    let order = || left.as_comparer().ok_or(ExecutionError::NoSuchOverload)?.compare(right);
    Ok(Value::Bool(match operator {
        operators::EQUALS => left.equals(right),
        operators::NOT_EQUALS => !left.equals(right),
        operators::LESS => order()? == Ordering::Less,
        operators::LESS_EQUALS => order()? != Ordering::Greater,
        operators::GREATER => order()? == Ordering::Greater,
        operators::GREATER_EQUALS => order()? != Ordering::Less,
        _ => right.as_container().ok_or(ExecutionError::NoSuchOverload)?.contains(left)?,
    }))
}

/// The value of an argument, in place where it can be.
fn look<'a>(expression: &'a IdedExpr, context: &'a Context<'a>) -> Result<Cow<'a, dyn Val>, ExecutionError> {
    match &expression.expr {
        Expr::Call(call) if call.func_name == GET => match call.args.as_slice() {
            [path] => at(path, context),
            _ => Err(ExecutionError::NoSuchOverload),
        },
        _ => Value::resolve_val(expression, context),
    }
}

/// Follows a path as the interpreter would, without its copies.
fn at<'a>(path: &'a IdedExpr, context: &'a Context<'a>) -> Result<Cow<'a, dyn Val>, ExecutionError> {
    match &path.expr {
        Expr::Select(select) => {
            let operand = at(&select.operand, context)?;
            if !is_map(&*operand) {
                // So the interpreter says of what has no fields.
                return Ok(Cow::<dyn Val>::Owned(Box::new(CelBool::from(false))));
            }
            let key: CelString = select.field.as_str().into();
            item(operand, &key)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let [operand, place] = call.args.as_slice() else { return Err(ExecutionError::NoSuchOverload) };
            let operand = at(operand, context)?;
            if operand.downcast_ref::<CelOptional>().is_some() {
                return Value::resolve_val(path, context);
            }
            let place = look(place, context)?;
            item(operand, &*place)
        }
        _ => Value::resolve_val(path, context),
    }
}

fn item<'a>(operand: Cow<'a, dyn Val>, key: &dyn Val) -> Result<Cow<'a, dyn Val>, ExecutionError> {
    match operand {
        Cow::Borrowed(value) => value.as_indexer().ok_or(ExecutionError::NoSuchOverload)?.get(key),
        Cow::Owned(value) => value.into_indexer().ok_or(ExecutionError::NoSuchOverload)?.steal(key).map(Cow::Owned),
    }
}

fn is_map(value: &dyn Val) -> bool {
    value.downcast_ref::<CelMap>().is_some()
}

/// What is small is paid for by the step that looks at it.
fn pay(size: i64) -> Result<(), ExecutionError> {
    if size > 1 { spend(size) } else { Ok(()) }
}

/// As [`super::budget::size`], of a value in place.
fn size_of(value: &dyn Val) -> i64 {
    if let Some(list) = value.downcast_ref::<CelList>() {
        return 1 + list.inner().iter().map(|item| size_of(item.as_ref())).sum::<i64>();
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        return 1 + map.inner().values().map(|value| 1 + size_of(value.as_ref())).sum::<i64>();
    }
    if let Some(text) = value.downcast_ref::<CelString>() {
        return text_size(text.inner().len());
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        return text_size(bytes.inner().len());
    }
    match value.downcast_ref::<CelOptional>() {
        Some(optional) => 1 + optional.inner().map_or(0, size_of),
        None => 1,
    }
}

/// Keys of a map are hashed; items of a list are gone through.
fn cost_of_search(container: &dyn Val) -> i64 {
    if is_map(container) { 1 } else { size_of(container) }
}

/// What differs in length is different at once.
fn cost_of_comparison(left: &dyn Val, right: &dyn Val) -> i64 {
    if let (Some(left_list), Some(right_list)) = (left.downcast_ref::<CelList>(), right.downcast_ref::<CelList>()) {
        return if left_list.inner().len() == right_list.inner().len() { size_of(left) } else { 1 };
    }
    if let (Some(left_map), Some(right_map)) = (left.downcast_ref::<CelMap>(), right.downcast_ref::<CelMap>()) {
        return if left_map.inner().len() == right_map.inner().len() { size_of(left) } else { 1 };
    }
    match (left.downcast_ref::<CelString>(), right.downcast_ref::<CelString>()) {
        (Some(left), Some(right)) => text_size(left.inner().len().min(right.inner().len())),
        _ => 1,
    }
}
