//! `metadata.ownerReferences`.

use mizzen_api::status::Cause;
use serde_json::{Map, Value};

use crate::errors::{cause, invalid_value};

pub(super) fn validate(metadata: &Map<String, Value>, causes: &mut Vec<Cause>) {
    let Some(owners) = metadata.get("ownerReferences").and_then(Value::as_array) else { return };
    let mut controllers = Vec::new();
    for (index, owner) in owners.iter().enumerate() {
        let path = format!("metadata.ownerReferences[{index}]");
        for (field, what) in [("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")] {
            if owner.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
                causes.push(invalid_value(format!("{path}.{field}"), "", &format!("{what} must not be empty")));
            }
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            controllers.push(owner.get("name").and_then(Value::as_str).unwrap_or_default());
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        causes.push(cause(
            "FieldValueInvalid",
            "metadata.ownerReferences",
            format!(
                "Invalid value: Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
            ),
        ));
    }
}
