//! `PodDisruptionBudget`.

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::value::{absent, int, set, text};
use super::workload::check_amount;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, invalid, non_negative, one_of, validate_label_selector};

struct Budget;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("policy", "PodDisruptionBudget", "poddisruptionbudgets", Scope::Namespaced, Budget).short("pdb").status()
}

const COLUMNS: &[Column] = &[
    Column::text("Min Available", "How many pods must stay available."),
    Column::text("Max Unavailable", "How many pods may be unavailable."),
    Column::number("Allowed Disruptions", "How many pods may be disrupted now."),
    Column::AGE,
];

impl Strategy for Budget {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}));
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let spec = Path::root("spec");
        let mut causes = Vec::new();
        if !absent(object, "/spec/minAvailable") && !absent(object, "/spec/maxUnavailable") {
            causes.push(invalid(spec, &object["spec"], "minAvailable and maxUnavailable cannot be both set"));
        }
        for field in ["minAvailable", "maxUnavailable"] {
            if let Some(amount) = object.pointer(&format!("/spec/{field}")).filter(|amount| !amount.is_null()) {
                check_amount(amount, &spec.field(field), true, &mut causes);
            }
        }
        causes.extend(validate_label_selector(object.pointer("/spec/selector"), &spec.field("selector")));
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        let policy = text(object, "/spec/unhealthyPodEvictionPolicy");
        causes.extend(one_of(spec.field("unhealthyPodEvictionPolicy"), policy, &policies));
        causes
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> Vec<Cause> {
        let fields = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"].iter();
        fields.filter_map(|field| non_negative(format!("status.{field}"), object.pointer(&format!("/status/{field}")))).collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let amount = |field: &str| match object.pointer(&format!("/spec/{field}")) {
            None | Some(Value::Null) => "N/A".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(number) => number.to_string(),
        };
        vec![
            amount("minAvailable").into(),
            amount("maxUnavailable").into(),
            int(object, "/status/disruptionsAllowed").unwrap_or(0).into(),
            age(object, context.now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_bounds_one_side() {
        let half = json!({"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 2}});
        assert_eq!(Budget.validate(&half), []);
        let cells = Budget.cells(&half, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..3], [json!("50%"), json!("N/A"), json!(2)]);
        for (spec, field) in [
            (json!({"minAvailable": 1, "maxUnavailable": 1}), "spec"),
            (json!({"maxUnavailable": "101%"}), "spec.maxUnavailable"),
            (json!({"unhealthyPodEvictionPolicy": "Never"}), "spec.unhealthyPodEvictionPolicy"),
        ] {
            assert_eq!(Budget.validate(&json!({"spec": spec}))[0].field, field);
        }
    }
}
