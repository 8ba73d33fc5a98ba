//! Checks that all kinds share, with Kubernetes' wording (`apimachinery/pkg/util/validation` and `…/field`).

mod metadata;
mod names;

pub use metadata::{validate_labels, validate_metadata, validate_metadata_update};
pub use names::{
    NameRule, base64, config_map_key, dns1035_label, dns1123_label, dns1123_subdomain, env_var_name, ip_address, label_key,
    label_value, path_segment, port_name, port_number, qualified_name,
};

use std::fmt::Display;

use serde_json::Value;

use crate::status::Cause;

fn cause(reason: &str, field: &str, message: String) -> Cause {
    Cause { reason: reason.to_owned(), message, field: field.to_owned() }
}

/// A value as Kubernetes quotes it in messages: strings in quotes, other values as JSON.
pub fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

pub fn required(field: &str, detail: &str) -> Cause {
    let message = match detail {
        "" => "Required value".to_owned(),
        detail => format!("Required value: {detail}"),
    };
    cause("FieldValueRequired", field, message)
}

pub fn invalid(field: &str, value: &Value, detail: impl Display) -> Cause {
    cause("FieldValueInvalid", field, format!("Invalid value: {}: {detail}", quoted(value)))
}

pub fn invalid_text(field: &str, value: &str, detail: impl Display) -> Cause {
    cause("FieldValueInvalid", field, format!("Invalid value: {value:?}: {detail}"))
}

pub fn not_supported(field: &str, value: &str, supported: &[&str]) -> Cause {
    let mut sorted = supported.to_vec();
    sorted.sort_unstable();
    let list: Vec<String> = sorted.iter().map(|value| format!("{value:?}")).collect();
    cause("FieldValueNotSupported", field, format!("Unsupported value: {value:?}: supported values: {}", list.join(", ")))
}

pub fn forbidden(field: &str, detail: &str) -> Cause {
    cause("FieldValueForbidden", field, format!("Forbidden: {detail}"))
}

pub fn duplicate(field: &str, value: &Value) -> Cause {
    cause("FieldValueDuplicate", field, format!("Duplicate value: {}", quoted(value)))
}

pub fn too_long(field: &str, limit: usize) -> Cause {
    cause("FieldValueTooLong", field, format!("Too long: may not be more than {limit} bytes"))
}

pub fn too_many(field: &str, count: usize, limit: usize) -> Cause {
    cause("FieldValueTooMany", field, format!("Too many: {count}: must have at most {limit} items"))
}

/// One [`invalid_text`] for each of a checker's complaints.
pub fn complaints(field: &str, value: &str, complaints: Vec<String>) -> impl Iterator<Item = Cause> {
    complaints.into_iter().map(move |detail| invalid_text(field, value, detail))
}

/// A field that may not change.
pub fn immutable(field: &str, new: Option<&Value>, old: Option<&Value>) -> Option<Cause> {
    (new != old).then(|| invalid(field, new.unwrap_or(&Value::Null), "field is immutable"))
}
