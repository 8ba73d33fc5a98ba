//! JSON merge patch (RFC 7386).

use serde_json::{Map, Value};

use crate::{PatchError, bounds};

/// Merges `patch` into `doc`: objects merge, nulls delete, everything else replaces.
///
/// # Errors
/// Only for a patch that nests deeper than [`crate::MAX_DEPTH`]; the document is then unchanged.
pub fn apply(doc: &mut Value, patch: &Value) -> Result<(), PatchError> {
    bounds::check_depth(patch)?;
    merge(doc, patch);
    Ok(())
}

fn merge(doc: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *doc = patch.clone();
        return;
    };
    if !doc.is_object() {
        *doc = Value::Object(Map::new());
    }
    let Value::Object(fields) = doc else { return };
    for (key, wanted) in patch {
        match (wanted, fields.get_mut(key)) {
            (Value::Null, _) => {
                fields.remove(key);
            }
            (_, Some(field)) => merge(field, wanted),
            (_, None) => {
                let mut field = Value::Null;
                merge(&mut field, wanted);
                fields.insert(key.clone(), field);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The examples of RFC 7386, appendix A.
    #[test]
    fn merges_as_the_rfc_lists() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut doc, patch, expected) in cases {
            apply(&mut doc, &patch).unwrap();
            assert_eq!(doc, expected, "patch {patch}");
        }
    }
}
