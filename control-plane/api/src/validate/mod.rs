//! Checks that all kinds share, with Kubernetes' wording (`apimachinery/pkg/util/validation` and `…/field`).

mod cel_names;
mod metadata;
mod names;
mod path;
mod quantities;
mod selectors;

pub use crate::kinds::{check_match, check_match_conditions};
pub use cel_names::{CEL_RESERVED, is_cel_identifier};
pub use metadata::{validate_labels, validate_metadata, validate_metadata_update};
pub use names::{
    NameRule, base64, cidr, config_map_key, dns1035_label, dns1123_label, dns1123_subdomain, domain_prefixed_path, env_var_name,
    ip_address, label_key, label_value, path_segment, port_name, port_number, public_address, qualified_name, wildcard_subdomain,
};
pub use path::Path;
pub use quantities::{check_positive_quantity, check_quantity};
pub use selectors::validate_label_selector;

use std::fmt::Display;

use serde_json::Value;

use crate::status::Cause;

fn cause(reason: &str, field: impl Display, message: String) -> Cause {
    Cause { reason: reason.to_owned(), message, field: field.to_string() }
}

/// A value as Kubernetes quotes it in messages: strings in quotes, other values as JSON.
pub fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

pub fn required(field: impl Display, detail: &str) -> Cause {
    let message = match detail {
        "" => "Required value".to_owned(),
        detail => format!("Required value: {detail}"),
    };
    cause("FieldValueRequired", field, message)
}

pub fn invalid(field: impl Display, value: &Value, detail: impl Display) -> Cause {
    let detail = detail.to_string();
    let colon = if detail.is_empty() { "" } else { ": " };
    cause("FieldValueInvalid", field, format!("Invalid value: {}{colon}{detail}", quoted(value)))
}

pub fn invalid_text(field: impl Display, value: &str, detail: impl Display) -> Cause {
    cause("FieldValueInvalid", field, format!("Invalid value: {value:?}: {detail}"))
}

pub fn not_supported(field: impl Display, value: &str, supported: &[&str]) -> Cause {
    not_supported_value(field, &Value::String(value.to_owned()), supported)
}

pub fn not_supported_value(field: impl Display, value: &Value, supported: &[&str]) -> Cause {
    let mut sorted = supported.to_vec();
    sorted.sort_unstable();
    let list: Vec<String> = sorted.iter().map(|value| format!("{value:?}")).collect();
    cause("FieldValueNotSupported", field, format!("Unsupported value: {}: supported values: {}", quoted(value), list.join(", ")))
}

pub fn forbidden(field: impl Display, detail: &str) -> Cause {
    cause("FieldValueForbidden", field, format!("Forbidden: {detail}"))
}

pub fn duplicate(field: impl Display, value: &Value) -> Cause {
    cause("FieldValueDuplicate", field, format!("Duplicate value: {}", quoted(value)))
}

pub fn too_long(field: impl Display, limit: usize) -> Cause {
    cause("FieldValueTooLong", field, format!("Too long: may not be more than {limit} bytes"))
}

pub fn too_many(field: impl Display, count: usize, limit: usize) -> Cause {
    cause("FieldValueTooMany", field, format!("Too many: {count}: must have at most {limit} items"))
}

/// What a field names does not exist.
pub fn not_found(field: impl Display, value: &str) -> Cause {
    cause("FieldValueNotFound", field, format!("Not found: {value:?}"))
}

/// A whole number that may not be negative.
pub fn non_negative(field: impl Display, value: Option<&Value>) -> Option<Cause> {
    let value = value.filter(|value| value.as_i64().is_some_and(|number| number < 0))?;
    Some(invalid(field, value, "must be greater than or equal to 0"))
}

/// A whole number that must be at least one.
pub fn positive(field: impl Display, value: Option<&Value>) -> Option<Cause> {
    let value = value.filter(|value| value.as_i64().is_some_and(|number| number <= 0))?;
    Some(invalid(field, value, "must be greater than 0"))
}

/// A text that must be there, and one of `supported`.
pub fn required_one_of(field: impl Display, value: &str, supported: &[&str]) -> Option<Cause> {
    match value {
        "" => Some(required(field, "")),
        value => one_of(field, value, supported),
    }
}

/// A text that must be one of `supported`, where it is set at all.
pub fn one_of(field: impl Display, value: &str, supported: &[&str]) -> Option<Cause> {
    (!value.is_empty() && !supported.contains(&value)).then(|| not_supported(field, value, supported))
}

/// One [`invalid_text`] for each of a checker's complaints.
pub fn complaints(field: impl Display, value: &str, complaints: Vec<String>) -> impl Iterator<Item = Cause> {
    complaints.into_iter().map(move |detail| invalid_text(&field, value, detail))
}

/// A field that may not change.
pub fn immutable(field: impl Display, new: Option<&Value>, old: Option<&Value>) -> Option<Cause> {
    (new != old).then(|| invalid(field, new.unwrap_or(&Value::Null), "field is immutable"))
}
