//! `LimitRange`.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::builder::{Describe, resource};
use super::value::{child, entries, fill, list, list_mut, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::validate::{Path, complaints, duplicate, forbidden, invalid, invalid_text, qualified_name, required};

struct LimitRange;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "LimitRange", "limitranges", Scope::Namespaced, LimitRange).short("limits")
}

const COLUMNS: &[Column] = &[Column::text("Created At", "When it was created.")];
const BOUNDS: &[&str] = &["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"];

/// Pairs of fields of which the first may not be greater than the second, where the complaint stands, and its words.
const ORDER: &[(&str, &str, &str, [&str; 2])] = &[
    ("min", "max", "min", ["min value", "max value"]),
    ("min", "defaultRequest", "defaultRequest", ["min value", "default request value"]),
    ("defaultRequest", "max", "defaultRequest", ["default request value", "max value"]),
    ("defaultRequest", "default", "defaultRequest", ["default request value", "default limit value"]),
    ("min", "default", "default", ["min value", "default value"]),
    ("default", "max", "default", ["default value", "max value"]),
];

impl Strategy for LimitRange {
    /// The limit is the maximum unless said otherwise; the request is the limit, or else the minimum.
    fn default(&self, object: &mut Value) {
        for item in list_mut(object, "/spec/limits").filter(|item| text(item, "/type") == "Container") {
            for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
                let Some(amounts) = item.get(from).and_then(Value::as_object).cloned() else { continue };
                if let Some(filled) = child(item, to) {
                    amounts.into_iter().for_each(|(name, amount)| fill(filled, &name, amount));
                }
            }
        }
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let (mut seen, limits) = (HashSet::new(), Path::root("spec.limits"));
        for (index, item) in list(object, "/spec/limits").iter().enumerate() {
            let at = limits.index(index);
            let kind = text(item, "/type");
            let wrong = qualified_name(kind);
            if wrong.is_empty() && !kind.contains('/') && !["Container", "PersistentVolumeClaim", "Pod"].contains(&kind) {
                causes.push(invalid_text(at.field("type"), kind, "must be a standard limit type or fully qualified"));
            }
            causes.extend(complaints(at.field("type"), kind, wrong));
            if !seen.insert(kind) {
                causes.push(duplicate(at.field("type"), &kind.into()));
            }
            check_item(item, kind, &at, &mut causes);
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, _context: Context) -> Vec<Value> {
        vec![text(object, "/metadata/creationTimestamp").into()]
    }
}

fn check_item(item: &Value, kind: &str, at: &Path, causes: &mut Vec<Cause>) {
    let before = causes.len();
    for field in BOUNDS {
        let path = at.field(field);
        for (name, amount) in entries(item, &format!("/{field}")) {
            let key = path.key(name);
            causes.extend(complaints(&key, name, qualified_name(name)));
            if let Err(error) = Quantity::from_value(amount) {
                causes.push(invalid(key, amount, error));
            }
        }
    }
    if kind == "Pod" {
        for field in ["default", "defaultRequest"] {
            if item.get(field).and_then(Value::as_object).is_some_and(|amounts| !amounts.is_empty()) {
                causes.push(forbidden(at.field(field), "may not be specified when `type` is 'Pod'"));
            }
        }
    }
    if kind == "PersistentVolumeClaim" && amount(item, "min", "storage").or(amount(item, "max", "storage")).is_none() {
        causes
            .push(required(at.field("limits"), "either minimum or maximum storage value is required, but neither was provided"));
    }
    if causes.len() > before {
        return;
    }
    let names: std::collections::BTreeSet<&String> =
        BOUNDS.iter().filter_map(|field| item.get(field)?.as_object()).flat_map(Map::keys).collect();
    for name in names {
        for (low, high, place, [low_word, high_word]) in ORDER {
            if let (Some(low), Some(high)) = (amount(item, low, name), amount(item, high, name))
                && low > high
            {
                let value = Value::String(amount(item, place, name).unwrap_or(low).to_string());
                let why = format!("{low_word} {low} is greater than {high_word} {high}");
                causes.push(invalid(at.field(place).key(name), &value, why));
            }
        }
        if let Some(ratio) = amount(item, "maxLimitRequestRatio", name)
            && ratio < Quantity::from_units(1)
        {
            let value = Value::String(ratio.to_string());
            causes.push(invalid(at.field("maxLimitRequestRatio").key(name), &value, format!("ratio {ratio} is less than 1")));
        }
        // Whatever is within the bounds is within a greater ratio: it would never count.
        if let (Some(ratio), Some(min), Some(max)) =
            (amount(item, "maxLimitRequestRatio", name), amount(item, "min", name), amount(item, "max", name))
        {
            let widest = max.ratio(min);
            if ratio.ratio(Quantity::from_units(1)) > widest {
                let value = Value::String(ratio.to_string());
                let why = format!("ratio {ratio} is greater than max/min = {widest:.6}");
                causes.push(invalid(at.field("maxLimitRequestRatio").key(name), &value, why));
            }
        }
    }
}

fn amount(item: &Value, field: &str, name: &str) -> Option<Quantity> {
    Quantity::from_value(item.get(field)?.get(name)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn range(item: Value) -> Value {
        let mut object = json!({"spec": {"limits": [item]}});
        LimitRange.default(&mut object);
        object
    }

    #[test]
    fn a_container_gets_the_maximum_as_limit_and_the_limit_or_the_minimum_as_request() {
        let object = range(json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1", "memory": "1Mi"}}));
        let item = &object["spec"]["limits"][0];
        assert_eq!((&item["default"], &item["defaultRequest"]), (&json!({"cpu": "2"}), &json!({"cpu": "2", "memory": "1Mi"})));
        assert_eq!(LimitRange.validate(&object), []);
    }

    #[test]
    fn bounds_that_contradict_each_other_are_refused() {
        for (item, complaint) in [
            (
                json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}),
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            ),
            (
                json!({"type": "Node"}),
                "spec.limits[0].type: Invalid value: \"Node\": must be a standard limit type or fully qualified",
            ),
            (
                json!({"type": "Pod", "default": {"cpu": "2"}}),
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                json!({"type": "PersistentVolumeClaim"}),
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ),
            (
                json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}}),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
            ),
            (
                json!({"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}}),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
            ),
        ] {
            let causes = LimitRange.validate(&range(item));
            let found: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
            assert_eq!(found, [complaint]);
        }
    }
}
