//! How deep a document may nest. Every function here recurses, so the bound is what keeps the stack.

use serde_json::Value;

use crate::PatchError;

/// The deepest nesting of objects and lists that is worked on. serde_json reads no more than 127 levels, so a deeper
/// document could be written but never be read back.
pub const MAX_DEPTH: usize = 120;

/// The nesting of a value: 0 for a scalar, 1 for an empty list.
pub(crate) fn depth(value: &Value) -> usize {
    measure(value).0
}

/// The nesting of a value, and of how many values it is made. Walks with its own stack, whatever it is given.
pub(crate) fn measure(value: &Value) -> (usize, usize) {
    let (mut deepest, mut count) = (0, 0);
    let mut waiting = vec![(value, 0)];
    while let Some((value, above)) = waiting.pop() {
        count += 1;
        match value {
            Value::Array(items) => waiting.extend(items.iter().map(|item| (item, above + 1))),
            Value::Object(fields) => waiting.extend(fields.values().map(|item| (item, above + 1))),
            _ => {
                deepest = deepest.max(above);
                continue;
            }
        }
        deepest = deepest.max(above + 1);
    }
    (deepest, count)
}

pub(crate) fn check_depth(value: &Value) -> Result<(), PatchError> {
    let depth = depth(value);
    if depth > MAX_DEPTH { Err(PatchError::TooDeep { depth }) } else { Ok(()) }
}

/// About how many bytes a value takes as JSON.
pub(crate) fn size(value: &Value) -> usize {
    let mut bytes = 0;
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        bytes += match value {
            Value::Null | Value::Bool(_) => 4,
            Value::Number(_) => 8,
            Value::String(text) => text.len() + 2,
            Value::Array(items) => {
                waiting.extend(items);
                items.len() + 2
            }
            Value::Object(fields) => {
                waiting.extend(fields.values());
                fields.keys().map(|key| key.len() + 4).sum::<usize>() + 2
            }
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn depth_counts_nested_lists_and_objects() {
        assert_eq!(depth(&json!(1)), 0);
        assert_eq!(depth(&json!({})), 1);
        assert_eq!(measure(&json!({"a": [1, {"b": 2}], "c": {}})), (3, 6));
    }
}
