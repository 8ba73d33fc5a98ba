//! The functions of expressions: Kubernetes' libraries as kube-cel has them, made to pay for what they do, and those that
//! [`super::rewrite`] needs.

use std::sync::Arc;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::common::ast::{CallExpr, Expr, IdedExpr};
use kube_cel::cel::objects::{Key, OptionalValue};
use kube_cel::cel::{Context, ExecutionError, FunctionContext, Value};

use super::budget::{size, spend};
use super::build::{ident, node};
use super::{access, authorizer, collect};
use crate::go_regex;

pub(super) const SPEND: &str = "@spend";
pub(super) const RANGE: &str = "@range";
pub(super) const KEEP: &str = "@keep";
pub(super) const KEYS: &str = "@keys";
pub(super) const ADD: &str = "@add";
pub(super) const OPTIONAL_SELECT: &str = "@optionalSelect";

/// Functions whose work, or whose answer, is as large as their two largest arguments multiplied.
const PRODUCT: &[&str] = &[
    "replace",
    "join",
    "sets.contains",
    "sets.intersects",
    "sets.equivalent",
    "distinct",
    "indexOf",
    "lastIndexOf",
    "matches",
    "find",
    "findAll",
    "contains",
];
/// Functions that go through their arguments once.
const LINEAR: &[&str] = &[
    "format",
    "split",
    "isSorted",
    "sort",
    "lowerAscii",
    "upperAscii",
    "trim",
    "substring",
    "reverse",
    "flatten",
    "slice",
    "sum",
    "min",
    "max",
    "string",
    "bytes",
    "startsWith",
    "endsWith",
    "base64.encode",
    "base64.decode",
    "url",
    "quantity",
    "jsonpatch.escapeKey",
    "strings.quote",
    "charAt",
    "first",
    "last",
    "size",
    "hasValue",
    "value",
    "or",
    "orValue",
    "optional.of",
    "optional.ofNonZeroValue",
];

thread_local! {
    static LIBRARY: Context<'static> = Context::default().with_all();
    static GUARDED: Context<'static> = guarded();
}

/// Evaluates with all functions at hand.
pub(super) fn with_functions<T>(evaluate: impl FnOnce(&Context<'static>) -> T) -> T {
    GUARDED.with(evaluate)
}

fn guarded() -> Context<'static> {
    let mut context = Context::default().with_all();
    for name in PRODUCT {
        context.add_function(name, move |ftx: &FunctionContext| guard(ftx, name, true));
    }
    for name in LINEAR {
        context.add_function(name, move |ftx: &FunctionContext| guard(ftx, name, false));
    }
    context.add_function("lists.range", |count: i64| -> Result<Value, ExecutionError> {
        spend(count)?;
        Ok(Value::List(Arc::new((0..count).map(Value::Int).collect())))
    });
    context.add_function(SPEND, |cost: i64| spend(cost).map(|()| true));
    context.add_function(RANGE, |range: Value, weight: i64| -> Result<Value, ExecutionError> {
        let count = length(&range);
        spend(count.saturating_mul(weight).saturating_add(size(&range)))?;
        Ok(range)
    });
    context.add_function(KEEP, |value: Value| -> Result<Value, ExecutionError> {
        spend(size(&value))?;
        Ok(value)
    });
    context.add_function(KEYS, keys);
    // Types are looked at while an expression runs only: nothing is to be hidden.
    context.add_function("dyn", |value: Value| -> Result<Value, ExecutionError> { Ok(value) });
    context.add_function(ADD, |left: Value, right: Value| -> Result<Value, ExecutionError> {
        spend(size(&left).saturating_add(size(&right)))?;
        left + right
    });
    context.add_function(OPTIONAL_SELECT, optional_select);
    access::add_functions(&mut context);
    collect::add_functions(&mut context);
    authorizer::add_functions(&mut context);
    context.add_function("type", |value: Value| -> Result<Value, ExecutionError> {
        Ok(Value::String(Arc::new(format!("type:{}", type_of(&value)))))
    });
    context
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Int(_) => "int",
        Value::UInt(_) => "uint",
        Value::Float(_) => "double",
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Null => "null_type",
        _ => "other",
    }
}

fn length(value: &Value) -> i64 {
    let length = match value {
        Value::List(items) => items.len(),
        Value::Map(map) => map.map.len(),
        _ => 1,
    };
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// The keys of a map, the places of a list.
fn keys(value: Value) -> Result<Value, ExecutionError> {
    spend(size(&value))?;
    let keys = match value {
        Value::List(items) => (0..i64::try_from(items.len()).unwrap_or(i64::MAX)).map(Value::Int).collect(),
        Value::Map(map) => map
            .map
            .keys()
            .map(|key| match key {
                Key::Int(number) => Value::Int(*number),
                Key::Uint(number) => Value::UInt(*number),
                Key::Bool(flag) => Value::Bool(*flag),
                Key::String(text) => Value::String(text.clone()),
            })
            .collect(),
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    Ok(Value::List(Arc::new(keys)))
}

/// `operand.?field`.
fn optional_select(operand: Value, field: Arc<String>) -> Result<Value, ExecutionError> {
    spend(size(&operand))?;
    let selected = match &operand {
        Value::Map(map) => map.map.get(&Key::String(field)).cloned(),
        Value::Opaque(_) => match <&OptionalValue>::try_from(&operand)?.value() {
            Some(Value::Map(map)) => map.map.get(&Key::String(field)).cloned(),
            Some(_) | None => None,
        },
        _ => return Err(ExecutionError::NoSuchOverload),
    };
    Ok(Value::Opaque(Arc::new(selected.map_or_else(OptionalValue::none, OptionalValue::of))))
}

/// What a product is made of: the bytes of a text, the items of a list, or the bytes of all of them where they are `joined`.
fn extent(value: &Value, joined: bool) -> i64 {
    let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    match value {
        Value::List(items) if joined => items.iter().map(|item| 1 + extent(item, joined)).sum(),
        Value::List(items) => count(items.len()).saturating_mul(4),
        Value::String(text) => count(text.len()),
        Value::Bytes(bytes) => count(bytes.len()),
        _ => 1,
    }
}

/// Functions whose last argument but a count is a regular expression.
const PATTERNS: [&str; 3] = ["matches", "find", "findAll"];

/// Pays for a call of the library and makes it.
fn guard(ftx: &FunctionContext, name: &str, product: bool) -> Result<Value, ExecutionError> {
    let mut args = ftx.args.iter().map(|arg| Value::resolve(arg, ftx.ptx)).collect::<Result<Vec<_>, _>>()?;
    // `matches(text, pattern)` is `text.matches(pattern)`.
    let place = usize::from(ftx.this.is_none());
    if PATTERNS.contains(&name)
        && let Some(Value::String(pattern)) = args.get_mut(place)
    {
        *pattern = Arc::new(go_regex::translate(pattern));
    }
    let arguments = || ftx.this.iter().chain(&args);
    spend(arguments().fold(0_i64, |sum, value| sum.saturating_add(size(value))))?;
    if product {
        let mut extents: Vec<i64> = arguments().map(|value| extent(value, name == "join")).collect();
        extents.sort_unstable_by(|left, right| right.cmp(left));
        if let [first, second, ..] = extents.as_slice() {
            spend(first.saturating_mul(*second) / 16)?;
        }
    }
    LIBRARY.with(|library| {
        let mut scope = library.new_inner_scope();
        let names: Vec<String> = (0..args.len()).map(|index| format!("@{index}")).collect();
        for (name, value) in names.iter().zip(args) {
            scope.add_variable_from_value(name.as_str(), value);
        }
        let target = match (&ftx.this, name.split_once('.')) {
            (Some(this), _) => {
                scope.add_variable_from_value("@this", this.clone());
                Some(Box::new(ident("@this")))
            }
            (None, Some((package, _))) => Some(Box::new(ident(package))),
            (None, None) => None,
        };
        let func_name = name.rsplit('.').next().unwrap_or(name).to_owned();
        let args: Vec<IdedExpr> = names.iter().map(|name| ident(name)).collect();
        Value::resolve(&node(Expr::Call(CallExpr { func_name, target, args })), &scope)
    })
}
