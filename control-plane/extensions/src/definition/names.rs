//! The names of a custom kind.

use mizzen_api::status::Cause;
use mizzen_api::validate::{dns1035_label, invalid_text, required};
use serde_json::Value;

/// What is wrong with `names` at `path`; in the spec, four of them are required.
pub(super) fn validate(path: &str, names: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let text = |field: &str| names.get(field).and_then(Value::as_str).unwrap_or("");
    for field in ["plural", "singular", "kind", "listKind"] {
        let (name, field_path) = (text(field), format!("{path}.{field}"));
        if name.is_empty() {
            causes.push(required(field_path, ""));
            continue;
        }
        let mixed = field.ends_with("ind");
        let wrong = dns1035_label(&if mixed { name.to_lowercase() } else { name.to_owned() });
        if !wrong.is_empty() {
            let prefix = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            causes.push(invalid_text(field_path, name, format!("{prefix}{}", wrong.join(","))));
        }
    }
    for field in ["shortNames", "categories"] {
        for (index, name) in names.get(field).and_then(Value::as_array).into_iter().flatten().enumerate() {
            let name = name.as_str().unwrap_or("");
            let wrong = dns1035_label(name);
            if !wrong.is_empty() {
                causes.push(invalid_text(format!("{path}.{field}[{index}]"), name, wrong.join(",")));
            }
        }
    }
    if !text("kind").is_empty() && text("kind") == text("listKind") {
        let why = "kind and listKind may not be the same";
        causes.push(invalid_text(format!("{path}.listKind"), text("listKind"), why));
    }
    causes
}
