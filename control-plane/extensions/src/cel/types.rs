//! The types of expressions, as far as they are told by literals and operators.

use kube_cel::cel::common::ast::{LiteralValue, operators};

use super::access::{HAS, compared};
use super::collect::CLOSE;
use super::functions::ADD;

/// A type that does not depend on a schema any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    Bool,
    Int,
    Double,
    Text,
    List,
    /// An object is one, too.
    Map,
    Null,
    Bytes,
    Timestamp,
    Duration,
}

impl Plain {
    /// As CEL calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
            Self::List => "list",
            Self::Map => "map",
            Self::Null => "null_type",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
        }
    }
}

pub(super) fn of_literal(literal: &LiteralValue) -> Option<Plain> {
    match literal {
        LiteralValue::Boolean(_) => Some(Plain::Bool),
        LiteralValue::Int(_) => Some(Plain::Int),
        LiteralValue::Double(_) => Some(Plain::Double),
        LiteralValue::String(_) => Some(Plain::Text),
        LiteralValue::Bytes(_) => Some(Plain::Bytes),
        LiteralValue::Null => Some(Plain::Null),
        _ => None,
    }
}

const ORDERS: [&str; 4] = [operators::LESS, operators::LESS_EQUALS, operators::GREATER, operators::GREATER_EQUALS];
const EQUALITIES: [&str; 2] = [operators::EQUALS, operators::NOT_EQUALS];
/// Functions and methods whose answer is always a flag.
const FLAGS: [&str; 5] = [HAS, "startsWith", "endsWith", "contains", "matches"];

/// The type of what a function gives, where it is known; operands whose types are not known may be anything.
///
/// # Errors
/// When the operator does not take its operands, in the words of CEL.
pub(super) fn of_call(function: &str, operands: &[Option<Plain>]) -> Result<Option<Plain>, String> {
    // Comparisons were given names of their own.
    let paying = ORDERS.iter().chain(&EQUALITIES).find(|operator| compared(operator) == Some(function));
    let function = paying.copied().unwrap_or(function);
    let function = if function == ADD { operators::ADD } else { function };
    let wrong = || {
        let types: Vec<&str> = operands.iter().flatten().map(|plain| plain.as_str()).collect();
        Err(format!("found no matching overload for '{function}' applied to '({})'", types.join(", ")))
    };
    let is_number = |plain: Plain| matches!(plain, Plain::Int | Plain::Double);
    match (function, operands) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR, [Some(left), Some(right)])
            if [left, right].iter().any(|operand| **operand != Plain::Bool) =>
        {
            wrong()
        }
        (operators::LOGICAL_NOT, [Some(operand)]) if *operand != Plain::Bool => wrong(),
        (function, [Some(left), Some(right)])
            // What may be null is not known here.
            if EQUALITIES.contains(&function)
                && left != right
                && ![left, right].contains(&&Plain::Null) =>
        {
            wrong()
        }
        (function, [Some(left), Some(right)]) if ORDERS.contains(&function) => {
            let ordered = |plain: Plain| !matches!(plain, Plain::List | Plain::Map | Plain::Null);
            let fit = left == right || (is_number(*left) && is_number(*right));
            if fit && ordered(*left) { Ok(Some(Plain::Bool)) } else { wrong() }
        }
        (operators::ADD, [Some(left), Some(right)]) => match (left, right) {
            (Plain::Bool | Plain::Map | Plain::Null, _) | (_, Plain::Bool | Plain::Map | Plain::Null) => wrong(),
            (Plain::Timestamp, Plain::Duration) | (Plain::Duration, Plain::Timestamp) => Ok(Some(Plain::Timestamp)),
            (Plain::Timestamp, Plain::Timestamp) => wrong(),
            (left, right) if left == right => Ok(Some(*left)),
            _ => wrong(),
        },
        (operators::MULTIPLY | operators::DIVIDE | operators::MODULO, [Some(left), Some(right)]) => {
            let fits = left == right && (*left == Plain::Int || *left == Plain::Double && function != operators::MODULO);
            if fits { Ok(Some(*left)) } else { wrong() }
        }
        (operators::SUBSTRACT, [Some(left), Some(right)])
            if [left, right].iter().any(|plain| matches!(plain, Plain::Int | Plain::Double | Plain::Text | Plain::Bool)) =>
        {
            if left == right && is_number(*left) { Ok(Some(*left)) } else { wrong() }
        }
        (operators::NEGATE, [Some(operand)]) => if is_number(*operand) { Ok(Some(*operand)) } else { wrong() },
        (operators::CONDITIONAL, [Some(condition), ..]) if *condition != Plain::Bool => wrong(),
        (operators::CONDITIONAL, [_, Some(then), Some(otherwise)]) if then == otherwise => Ok(Some(*then)),
        (operators::CONDITIONAL, [_, Some(then), Some(otherwise)]) if ![then, otherwise].contains(&&Plain::Null) => wrong(),
        ("size", [Some(operand)]) if !matches!(operand, Plain::Text | Plain::List | Plain::Map | Plain::Bytes) => wrong(),
        ("startsWith" | "endsWith" | "matches", [Some(left), Some(right)]) if [left, right] != [&Plain::Text; 2] => wrong(),
        (CLOSE, _) => Ok(Some(Plain::List)),
        ("duration", [_]) => Ok(Some(Plain::Duration)),
        ("timestamp", [_]) => Ok(Some(Plain::Timestamp)),
        ("lowerAscii" | "upperAscii" | "trim" | "replace" | "substring" | "join", [Some(Plain::Text | Plain::List), ..]) => {
            Ok(Some(Plain::Text))
        }
        (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, _) => Ok(Some(Plain::Bool)),
        (function, _) if ORDERS.contains(&function) || EQUALITIES.contains(&function) => Ok(Some(Plain::Bool)),
        (function, _) if FLAGS.contains(&function) => Ok(Some(Plain::Bool)),
        ("size", _) => Ok(Some(Plain::Int)),
        ("string", [_]) => Ok(Some(Plain::Text)),
        _ => Ok(None),
    }
}
