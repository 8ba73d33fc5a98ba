//! What evaluating may cost. The unit is about one step of the interpreter.

use std::cell::Cell;

use kube_cel::cel::objects::OptionalValue;
use kube_cel::cel::{ExecutionError, Value};

use super::collect;

/// What one evaluation of one rule may cost (`PerCallLimit` of Kubernetes).
pub(super) const PER_CALL: i64 = 1_000_000;
/// What all rules may cost for one object (`RuntimeCELCostBudget` of Kubernetes).
pub(super) const PER_OBJECT: i64 = 10_000_000;

thread_local! {
    /// What the evaluation under way on this thread has left.
    static LEFT: Cell<i64> = const { Cell::new(0) };
}

/// Runs an evaluation with at most `limit` to spend. Returns its outcome and what it spent, `None` if the limit was hit.
pub(super) fn with_limit<T>(limit: i64, evaluate: impl FnOnce() -> T) -> (T, Option<i64>) {
    LEFT.set(limit);
    let outcome = evaluate();
    collect::reset();
    let left = LEFT.replace(0);
    (outcome, (left >= 0).then_some(limit - left))
}

/// # Errors
/// When nothing is left; from then on every step fails.
pub(super) fn spend(cost: i64) -> Result<(), ExecutionError> {
    let left = LEFT.get().saturating_sub(cost.max(1));
    LEFT.set(if left < 0 { -1 } else { left });
    match left {
        ..0 => Err(ExecutionError::function_error("cost", "operation cancelled: actual cost limit exceeded")),
        _ => Ok(()),
    }
}

/// The size of a value in units of cost: a step for each item, and one for every 16 bytes of text.
pub(super) fn size(value: &Value) -> i64 {
    match value {
        Value::List(items) => 1 + items.iter().map(size).sum::<i64>(),
        Value::Map(map) => 1 + map.map.values().map(|value| 1 + size(value)).sum::<i64>(),
        Value::String(text) => text_size(text.len()),
        Value::Bytes(bytes) => text_size(bytes.len()),
        Value::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>() {
            Some(optional) => 1 + optional.value().map_or(0, size),
            None => 1,
        },
        _ => 1,
    }
}

pub(super) fn text_size(bytes: usize) -> i64 {
    1 + i64::try_from(bytes / 16).unwrap_or(i64::MAX)
}
