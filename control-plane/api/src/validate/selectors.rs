//! `meta/v1.LabelSelector` documents (`apimachinery/pkg/apis/meta/v1/validation`).

use serde_json::Value;

use super::{Path, complaints, forbidden, invalid_text, label_key, label_value, required, validate_labels};
use crate::status::Cause;

/// Every wrong field of a selector document; an absent one has none.
pub fn validate_label_selector(selector: Option<&Value>, path: &Path) -> Vec<Cause> {
    let Some(selector) = selector.filter(|selector| !selector.is_null()) else { return Vec::new() };
    let mut causes = Vec::new();
    if let Some(labels) = selector.get("matchLabels") {
        causes.extend(validate_labels(&path.field("matchLabels").to_string(), Some(labels)));
    }
    let expressions = path.field("matchExpressions");
    for (index, expression) in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten().enumerate() {
        check_expression(expression, &expressions.index(index), &mut causes);
    }
    causes
}

fn check_expression(expression: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or("");
    let values = expression.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let at_values = at.field("values");
    match text("operator") {
        "In" | "NotIn" if values.is_empty() => {
            causes.push(required(at_values, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            causes.push(forbidden(at_values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        operator => causes.push(invalid_text(at.field("operator"), operator, "not a valid selector operator")),
    }
    causes.extend(complaints(at.field("key"), text("key"), label_key(text("key"))));
    for (index, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or("");
        causes.extend(complaints(at_values.index(index), value, label_value(value)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_wrong_field_of_a_selector_is_named() {
        let selector = json!({"matchLabels": {"a": "-"}, "matchExpressions": [
            {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]}, {"key": "", "operator": "Gt"},
            {"key": "a", "operator": "NotIn", "values": ["ok", "not ok"]},
        ]});
        let causes = validate_label_selector(Some(&selector), &Path::root("spec.selector"));
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.selector.matchLabels",
                "spec.selector.matchExpressions[0].values",
                "spec.selector.matchExpressions[1].values",
                "spec.selector.matchExpressions[2].operator",
                "spec.selector.matchExpressions[2].key",
                "spec.selector.matchExpressions[2].key",
                "spec.selector.matchExpressions[3].values[1]",
            ]
        );
        assert_eq!(causes[3].message, "Invalid value: \"Gt\": not a valid selector operator");
        assert!(validate_label_selector(None, &Path::root("x")).is_empty());
    }
}
