//! What is done to an expression between parsing and evaluating: macros that the parser does not know are spelled out,
//! optional chaining is mended, and everything that can grow or loop pays for it.

use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, MapEntryExpr, MapExpr, SelectExpr,
    StructExpr, operators,
};

use super::access::{GET, HAS, compared};
use super::authorizer::REQUEST_RESOURCE;
use super::build::{bind, bool, call, conditional, ident, int, method, node, text};
use super::collect::{CLOSE, OPEN, PUSH};
use super::functions::{ADD, KEEP, KEYS, OPTIONAL_SELECT, RANGE, SPEND};
use super::names::unescape;

/// How deep an expression may nest: evaluating it recurses.
const MAX_DEPTH: usize = 100;
/// Types, which `type(x)` is compared with: here, texts.
const TYPES: [&str; 10] = ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"];
const ACCUMULATOR: &str = "@result";

pub(super) fn is_shallow(expression: &IdedExpr) -> bool {
    fn within(expression: &IdedExpr, left: usize) -> bool {
        left > 0 && children(expression).into_iter().all(|child| within(child, left - 1))
    }
    within(expression, MAX_DEPTH)
}

pub(super) fn children(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call.target.iter().map(AsRef::as_ref).chain(&call.args).collect(),
        Expr::Comprehension(it) => {
            vec![&it.iter_range, &it.accu_init, &it.loop_cond, &it.loop_step, &it.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map
            .entries
            .iter()
            .flat_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
                EntryExpr::StructField(field) => vec![&field.value],
            })
            .collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Struct(object) => object
            .entries
            .iter()
            .map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => &entry.value,
                EntryExpr::StructField(field) => &field.value,
            })
            .collect(),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

/// What a run of an expression costs at least: the nodes that do something.
pub(super) fn weight(expression: &IdedExpr) -> i64 {
    let own = match &expression.expr {
        // Counted by what it is made of.
        Expr::Call(call) => call.func_name != GET,
        Expr::Select(_) | Expr::Ident(_) | Expr::Comprehension(_) => true,
        _ => false,
    };
    i64::from(own) + children(expression).into_iter().map(weight).sum::<i64>()
}

/// # Errors
/// When the expression uses what there is not.
pub(super) fn rewrite(expression: IdedExpr) -> Result<IdedExpr, String> {
    let expr = match expression.expr {
        Expr::Call(call) => return rewrite_call(call),
        Expr::Comprehension(it) => return comprehension(*it),
        Expr::Select(select) => return rewrite_select(select),
        Expr::List(list) => {
            let elements = list.elements.into_iter().map(|item| Ok(keep(rewrite(item)?))).collect::<Result<_, String>>()?;
            Expr::List(ListExpr::new_with_optionals(elements, list.optional_indices))
        }
        Expr::Map(mut map) => {
            for entry in &mut map.entries {
                match &mut entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        entry.key = keep(rewrite(std::mem::take(&mut entry.key))?);
                        entry.value = keep(rewrite(std::mem::take(&mut entry.value))?);
                    }
                    EntryExpr::StructField(_) => return Err(unsupported("messages")),
                }
            }
            Expr::Map(map)
        }
        Expr::Struct(object) => return object_literal(object),
        Expr::Unspecified => return Err(unsupported("the expression")),
        Expr::Ident(name) if TYPES.contains(&name.as_str()) => return Ok(text(&format!("type:{name}"))),
        expr @ (Expr::Ident(_) | Expr::Literal(_)) => expr,
    };
    Ok(IdedExpr { id: expression.id, expr })
}

/// Whether an expression builds objects of named types, which only mutations may.
pub(super) fn builds_objects(expression: &IdedExpr) -> bool {
    matches!(expression.expr, Expr::Struct(_)) || children(expression).into_iter().any(builds_objects)
}

/// `Object{…}`, `Object.spec{…}` and `JSONPatch{…}` are maps.
fn object_literal(object: StructExpr) -> Result<IdedExpr, String> {
    if !matches!(object.type_name.split('.').next(), Some("Object" | "JSONPatch")) {
        return Err(format!("ERROR: <input>: undeclared reference to '{}' (in container '')", object.type_name));
    }
    let mut entries = Vec::with_capacity(object.entries.len());
    for IdedEntryExpr { id, expr } in object.entries {
        let EntryExpr::StructField(field) = expr else { return Err(unsupported("messages")) };
        let (key, value) = (text(&unescape(&field.field)), keep(rewrite(field.value)?));
        entries.push(IdedEntryExpr { id, expr: EntryExpr::MapEntry(MapEntryExpr { key, value, optional: field.optional }) });
    }
    Ok(node(Expr::Map(MapExpr { entries })))
}

fn unsupported(what: &str) -> String {
    format!("ERROR: <input>: {what} cannot be evaluated")
}

/// Literals are as large as the expression that holds them, and what is fetched is paid for.
fn keep(expression: IdedExpr) -> IdedExpr {
    let is_paid = match &expression.expr {
        Expr::Literal(_) => true,
        Expr::Call(called) => called.func_name == GET,
        _ => false,
    };
    if is_paid { expression } else { call(KEEP, vec![expression]) }
}

fn rewrite_select(select: SelectExpr) -> Result<IdedExpr, String> {
    let operand = rewrite(*select.operand)?;
    if operand.expr == Expr::Ident("authorizer".to_owned()) && select.field == "requestResource" {
        return Ok(ident(REQUEST_RESOURCE));
    }
    if is_optional(&operand) {
        // A field of an optional value is optional.
        let selected = call(OPTIONAL_SELECT, vec![operand, text(&select.field)]);
        return Ok(if select.test { method(selected, "hasValue", Vec::new()) } else { selected });
    }
    Ok(match as_path(operand) {
        Ok(operand) => {
            let field = SelectExpr { operand: Box::new(operand), field: select.field, test: false };
            call(if select.test { HAS } else { GET }, vec![node(Expr::Select(field))])
        }
        Err(operand) => node(Expr::Select(SelectExpr { operand: Box::new(operand), ..select })),
    })
}

/// A variable, or what is fetched from one, as a path that can go on; else the expression as it was.
fn as_path(expression: IdedExpr) -> Result<IdedExpr, IdedExpr> {
    match expression {
        IdedExpr { expr: Expr::Ident(_), .. } => Ok(expression),
        IdedExpr { expr: Expr::Call(called), .. } if called.func_name == GET && called.args.len() == 1 => {
            called.args.into_iter().next().ok_or_else(IdedExpr::default)
        }
        expression => Err(expression),
    }
}

fn item(operand: IdedExpr, place: IdedExpr) -> IdedExpr {
    match as_path(operand) {
        Ok(operand) => call(GET, vec![call(operators::INDEX, vec![operand, place])]),
        Err(operand) => call(operators::INDEX, vec![operand, place]),
    }
}

fn is_optional(expression: &IdedExpr) -> bool {
    matches!(&expression.expr, Expr::Call(call) if [OPTIONAL_SELECT, operators::OPT_INDEX].contains(&call.func_name.as_str()))
}

fn rewrite_call(called: CallExpr) -> Result<IdedExpr, String> {
    let CallExpr { func_name, target, args } = called;
    let is_cel = matches!(&target, Some(target) if target.expr == Expr::Ident("cel".to_owned()));
    if is_cel && func_name == "bind" {
        let [name, value, body] = three(args)?;
        return Ok(bind(&variable(&name)?, keep(rewrite(value)?), rewrite(body)?));
    }
    let target = target.map(|target| rewrite(*target)).transpose()?;
    match (func_name.as_str(), target, args.len()) {
        ("optMap" | "optFlatMap", Some(target), 2) => {
            let [name, body] = two(args)?;
            let body = rewrite(body)?;
            let body = if func_name == "optMap" { method(ident("optional"), "of", vec![body]) } else { body };
            let none = method(ident("optional"), "none", Vec::new());
            let value = method(target.clone(), "value", Vec::new());
            Ok(conditional(method(target, "hasValue", Vec::new()), bind(&variable(&name)?, keep(value), body), none))
        }
        ("all" | "exists" | "exists_one" | "existsOne" | "transformList", Some(target), 3 | 4) => {
            two_variables(&func_name, target, args)
        }
        (operators::OPT_SELECT, None, 2) => {
            let [operand, field] = two(args)?;
            Ok(call(OPTIONAL_SELECT, vec![rewrite(operand)?, field]))
        }
        (operators::ADD, None, 2) => Ok(call(ADD, rewrite_all(args)?)),
        (operators::INDEX, None, 2) => {
            let [operand, place] = two(args)?;
            Ok(item(rewrite(operand)?, rewrite(place)?))
        }
        (_, target, _) => {
            let args = rewrite_all(args)?;
            let paying = compared(&func_name).filter(|_| target.is_none() && args.len() == 2);
            let func_name = paying.map_or(func_name, str::to_owned);
            Ok(node(Expr::Call(CallExpr { func_name, target: target.map(Box::new), args })))
        }
    }
}

fn rewrite_all(expressions: Vec<IdedExpr>) -> Result<Vec<IdedExpr>, String> {
    expressions.into_iter().map(rewrite).collect()
}

fn variable(expression: &IdedExpr) -> Result<String, String> {
    match &expression.expr {
        Expr::Ident(name) => Ok(name.clone()),
        _ => Err("ERROR: <input>: the argument must be a simple name".to_owned()),
    }
}

fn two(args: Vec<IdedExpr>) -> Result<[IdedExpr; 2], String> {
    args.try_into().map_err(|_| "ERROR: <input>: two arguments are needed".to_owned())
}

fn three(args: Vec<IdedExpr>) -> Result<[IdedExpr; 3], String> {
    args.try_into().map_err(|_| "ERROR: <input>: three arguments are needed".to_owned())
}

/// Macros over keys and values, or places and items: a loop over the keys, where the value is looked up.
fn two_variables(name: &str, target: IdedExpr, mut args: Vec<IdedExpr>) -> Result<IdedExpr, String> {
    let last = args.pop().ok_or_else(|| unsupported(name))?;
    let filter = if args.len() == 3 { args.pop() } else { None };
    let [key, value] = two(args)?;
    let (key, value) = (variable(&key)?, variable(&value)?);
    let item = keep(item(target.clone(), ident(&key)));
    let body = |expression: IdedExpr| Ok::<_, String>(bind(&value, item.clone(), rewrite(expression)?));
    let accumulator = || ident(ACCUMULATOR);
    let (init, condition, step, result) = match name {
        "all" => {
            let condition = call(operators::NOT_STRICTLY_FALSE, vec![accumulator()]);
            (bool(true), condition, call(operators::LOGICAL_AND, vec![accumulator(), body(last)?]), accumulator())
        }
        "exists" => {
            let not = call(operators::LOGICAL_NOT, vec![accumulator()]);
            let condition = call(operators::NOT_STRICTLY_FALSE, vec![not]);
            (bool(false), condition, call(operators::LOGICAL_OR, vec![accumulator(), body(last)?]), accumulator())
        }
        "exists_one" | "existsOne" => {
            let more = call(operators::ADD, vec![accumulator(), int(1)]);
            let step = conditional(body(last)?, more, accumulator());
            (int(0), bool(true), step, call(operators::EQUALS, vec![accumulator(), int(1)]))
        }
        _ => {
            let mut step = call(PUSH, vec![accumulator(), keep(body(last)?)]);
            if let Some(filter) = filter {
                step = conditional(body(filter)?, step, accumulator());
            }
            (node(Expr::List(ListExpr::new(Vec::new()))), bool(true), step, accumulator())
        }
    };
    Ok(paid(ComprehensionExpr {
        iter_range: call(KEYS, vec![target]),
        iter_var: key,
        iter_var2: None,
        accu_var: ACCUMULATOR.to_owned(),
        accu_init: init,
        loop_cond: condition,
        loop_step: step,
        result,
    }))
}

fn comprehension(it: ComprehensionExpr) -> Result<IdedExpr, String> {
    let step = rewrite_step(it.loop_step, &it.accu_var)?;
    Ok(paid(ComprehensionExpr {
        iter_range: rewrite(it.iter_range)?,
        accu_init: it.accu_init,
        loop_cond: it.loop_cond,
        loop_step: step,
        result: it.result,
        ..it
    }))
}

/// The step of a loop that collects a list is `accumulator + [item]`, of one that counts `accumulator + 1`.
fn rewrite_step(step: IdedExpr, accumulator: &str) -> Result<IdedExpr, String> {
    match step.expr {
        Expr::Call(called) if called.func_name == operators::CONDITIONAL && called.args.len() == 3 => {
            let [condition, then, otherwise] = three(called.args)?;
            Ok(conditional(rewrite(condition)?, rewrite_step(then, accumulator)?, rewrite_step(otherwise, accumulator)?))
        }
        Expr::Call(called)
            if called.func_name == operators::ADD
                && called.args.first().is_some_and(|first| first.expr == Expr::Ident(accumulator.to_owned())) =>
        {
            let [accumulated, more] = two(called.args)?;
            match more.expr {
                Expr::List(list) => {
                    let [item] = <[IdedExpr; 1]>::try_from(list.elements).map_err(|_| unsupported("the loop"))?;
                    Ok(call(PUSH, vec![accumulated, keep(rewrite(item)?)]))
                }
                _ => Ok(call(operators::ADD, vec![accumulated, rewrite(more)?])),
            }
        }
        expr => rewrite(IdedExpr { id: step.id, expr }),
    }
}

/// A loop that pays for every round; one that collects a list pays before it starts.
fn paid(mut it: ComprehensionExpr) -> IdedExpr {
    let weight = weight(&it.loop_step).max(1);
    if matches!(it.accu_init.expr, Expr::List(_)) {
        it.iter_range = call(RANGE, vec![it.iter_range, int(weight)]);
        it.accu_init = call(OPEN, Vec::new());
        it.result = call(CLOSE, vec![it.result]);
    } else {
        it.loop_cond = conditional(call(SPEND, vec![int(weight)]), it.loop_cond, bool(false));
    }
    node(Expr::Comprehension(Box::new(it)))
}
