//! `PriorityClass`.

use serde_json::Value;

use super::builder::{Describe, resource};
use super::value::{fill, flag, int, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{forbidden, immutable, one_of};

struct PriorityClass;

/// Higher ones are the system's own.
const HIGHEST_OF_USERS: i64 = 1_000_000_000;
const SYSTEM: &[(&str, i64)] = &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("scheduling.k8s.io", "PriorityClass", "priorityclasses", Scope::Cluster, PriorityClass).short("pc")
}

const COLUMNS: &[Column] = &[
    Column::number("Value", "The priority that pods get."),
    Column::flag("Global-Default", "Whether pods without a class get this one."),
    Column::AGE,
    Column::text("PreemptionPolicy", "Whether its pods preempt others."),
];

impl Strategy for PriorityClass {
    fn default(&self, object: &mut Value) {
        fill(object, "preemptionPolicy", "PreemptLowerPriority");
    }

    fn has_generation(&self, _object: &Value) -> bool {
        true
    }

    fn is_new_generation(&self, _object: &Value, _old: &Value) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let (name, value) = (text(object, "/metadata/name"), int(object, "/value").unwrap_or(0));
        if name.starts_with("system-") {
            let known = SYSTEM.iter().find(|(known, _)| *known == name);
            let why = match known {
                None => Some(format!("{name} is not a known system priority class")),
                Some((_, expected)) if *expected != value => Some(format!("value of {name} PriorityClass must be {expected}")),
                Some(_) if flag(object, "/globalDefault") => Some(format!("globalDefault of {name} PriorityClass must be false")),
                Some(_) => None,
            };
            if let Some(why) = why {
                let detail = format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}");
                causes.push(forbidden("metadata.name", &detail));
            }
        } else if value > HIGHEST_OF_USERS {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST_OF_USERS}");
            causes.push(forbidden("value", &why));
        }
        causes.extend(one_of("preemptionPolicy", text(object, "/preemptionPolicy"), &["Never", "PreemptLowerPriority"]));
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        if int(object, "/value").unwrap_or(0) != int(old, "/value").unwrap_or(0) {
            causes.push(forbidden("value", "may not be changed in an update."));
        }
        causes.extend(immutable("preemptionPolicy", object.get("preemptionPolicy"), old.get("preemptionPolicy")));
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![
            int(object, "/value").unwrap_or(0).into(),
            flag(object, "/globalDefault").into(),
            age(object, context.now).into(),
            text(object, "/preemptionPolicy").into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_highest_priorities_and_names_are_the_systems() {
        for (name, value, field) in [
            ("high", 1_000_000_000, None),
            ("high", 1_000_000_001, Some("value")),
            ("system-mine", 1, Some("metadata.name")),
            ("system-node-critical", 1, Some("metadata.name")),
            ("system-node-critical", 2_000_001_000, None),
        ] {
            let causes = PriorityClass.validate(&json!({"metadata": {"name": name}, "value": value}));
            assert_eq!(causes.first().map(|cause| cause.field.as_str()), field, "{name} {value}");
        }
    }

    #[test]
    fn the_value_never_changes() {
        let causes = PriorityClass.validate_update(&json!({"value": 1, "preemptionPolicy": "Never"}), &json!({"value": 2}));
        assert_eq!(causes[0].message, "Forbidden: may not be changed in an update.");
        assert_eq!(causes[1].field, "preemptionPolicy");
    }
}
