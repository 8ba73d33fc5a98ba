//! Lists that loops collect (`map`, `filter`, `transformList`). The interpreter copies the whole list in every round; here
//! rounds add to a list that is set aside, and the loop's accumulator is its number.

use std::cell::RefCell;

use kube_cel::cel::{Context, ExecutionError, FunctionContext, Value};

pub(super) const OPEN: &str = "@open";
pub(super) const PUSH: &str = "@push";
pub(super) const CLOSE: &str = "@close";

thread_local! {
    /// The lists of the loops under way on this thread, the innermost last.
    static LISTS: RefCell<Vec<Vec<Value>>> = const { RefCell::new(Vec::new()) };
}

/// Forgets the lists of loops that failed.
pub(super) fn reset() {
    LISTS.with_borrow_mut(Vec::clear);
}

pub(super) fn add_functions(context: &mut Context<'_>) {
    context.add_function(OPEN, |_ftx: &FunctionContext| -> Result<Value, ExecutionError> {
        LISTS.with_borrow_mut(|lists| {
            lists.push(Vec::new());
            i64::try_from(lists.len() - 1).map(Value::Int).map_err(|_| ExecutionError::NoSuchOverload)
        })
    });
    context.add_function(PUSH, |list: i64, item: Value| -> Result<Value, ExecutionError> {
        LISTS.with_borrow_mut(|lists| {
            let at = place(list, lists.len())?;
            lists[at].push(item);
            Ok(Value::Int(list))
        })
    });
    context.add_function(CLOSE, |list: i64| -> Result<Value, ExecutionError> {
        LISTS.with_borrow_mut(|lists| {
            let list = place(list, lists.len())?;
            // Those of loops inside that failed are behind it.
            lists.truncate(list + 1);
            Ok(Value::List(lists.pop().unwrap_or_default().into()))
        })
    });
}

fn place(list: i64, open: usize) -> Result<usize, ExecutionError> {
    usize::try_from(list).ok().filter(|list| *list < open).ok_or(ExecutionError::NoSuchOverload)
}
