//! `ResourceQuota`.

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::value::{entries, list, set, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::validate::{Path, check_quantity, complaints, forbidden, immutable, invalid, invalid_text, qualified_name, required};

struct ResourceQuota;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "ResourceQuota", "resourcequotas", Scope::Namespaced, ResourceQuota).short("quota").status()
}

const COLUMNS: &[Column] = &[
    Column::text("Request", "What is requested, of how much."),
    Column::text("Limit", "The limits that are used, of how much."),
    Column::AGE,
];

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// Counts of objects, and what containers and claims ask for.
const STANDARD: &[&str] = &[
    "configmaps",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];

fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

impl Strategy for ResourceQuota {
    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        check_amounts(object, "/spec/hard", &Path::root("spec.hard"), &mut causes);
        check_scopes(object, &mut causes);
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let sorted = |object: &Value| {
            let mut scopes: Vec<String> =
                list(object, "/spec/scopes").iter().filter_map(Value::as_str).map(str::to_owned).collect();
            scopes.sort_unstable();
            Value::from(scopes)
        };
        immutable("spec.scopes", Some(&sorted(object)), Some(&sorted(old))).into_iter().collect()
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        for field in ["hard", "used"] {
            check_amounts(object, &format!("/status/{field}"), &Path::root(&format!("status.{field}")), &mut causes);
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in entries(object, "/status/hard") {
            let used = object.pointer("/status/used").and_then(|used| used.get(name)).and_then(Value::as_str).unwrap_or("0");
            let column = if name.starts_with("limits.") { &mut limits } else { &mut requests };
            column.push(format!("{name}: {used}/{}", hard.as_str().unwrap_or("")));
        }
        vec![requests.join(", ").into(), limits.join(", ").into(), age(object, context.now).into()]
    }
}

fn check_amounts(object: &Value, pointer: &str, path: &Path, causes: &mut Vec<Cause>) {
    for (name, amount) in entries(object, pointer) {
        let at = path.key(name);
        causes.extend(complaints(&at, name, qualified_name(name)));
        if !name.contains('/') && !is_standard(name) {
            causes.push(invalid_text(at, name, "must be a standard resource type or fully qualified"));
            causes.push(invalid_text(at, name, "must be a standard resource for quota"));
        }
        check_quantity(amount, &at, causes);
        let counted = !name.contains("cpu") && !name.contains("memory") && !name.contains("storage");
        if counted && Quantity::from_value(amount).is_ok_and(|amount| amount.milli_value() % 1000 != 0) {
            causes.push(invalid(at, amount, "must be an integer"));
        }
    }
}

fn check_scopes(object: &Value, causes: &mut Vec<Cause>) {
    let scopes: Vec<&str> = list(object, "/spec/scopes").iter().filter_map(Value::as_str).collect();
    let selected: Vec<&str> =
        list(object, "/spec/scopeSelector/matchExpressions").iter().map(|expression| text(expression, "/scopeName")).collect();
    for (names, at, value) in [
        (&scopes, "spec.scopes", json!(scopes)),
        (
            &selected,
            "spec.scopeSelector.matchExpressions",
            object.pointer("/spec/scopeSelector/matchExpressions").cloned().unwrap_or_default(),
        ),
    ] {
        if names.iter().any(|name| !SCOPES.contains(name)) {
            causes.push(invalid(at, &value, "unsupported scope"));
        }
        for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
            if pair.iter().all(|name| names.contains(name)) {
                causes.push(invalid(at, &value, "conflicting scopes"));
            }
        }
        // Of pods that ask for nothing only the number can be counted.
        let only_pods = entries(object, "/spec/hard").all(|(name, _)| matches!(name.as_str(), "pods" | "count/pods"));
        if names.contains(&"BestEffort") && !only_pods {
            causes.push(invalid(at, &value, "unsupported scope applied to resource"));
        }
    }
    let root = Path::root("spec.scopeSelector.matchExpressions");
    for (index, expression) in list(object, "/spec/scopeSelector/matchExpressions").iter().enumerate() {
        let at = root.index(index);
        let values = list(expression, "/values").len();
        let (scope, operator) = (text(expression, "/scopeName"), text(expression, "/operator"));
        if !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && SCOPES.contains(&scope) && operator != "Exists" {
            let why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                       ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                       ResourceQuotaScopeCrossNamespacePodAffinity";
            causes.push(invalid_text(at.field("operator"), operator, why));
        }
        match operator {
            "In" | "NotIn" if values == 0 => {
                causes.push(required(
                    at.field("values"),
                    "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                ));
            }
            "Exists" | "DoesNotExist" if values > 0 => causes.push(forbidden(
                at.field("values"),
                "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => causes.push(invalid_text(at.field("operator"), other, "not a valid selector operator")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_shows_what_is_used_of_how_much() {
        let quota = json!({"status": {"hard": {"limits.cpu": "4", "pods": "10", "requests.cpu": "2"}, "used": {"pods": "3"}}});
        let cells = ResourceQuota.cells(&quota, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..2], [json!("pods: 3/10, requests.cpu: 0/2"), json!("limits.cpu: 0/4")]);
    }

    #[test]
    fn amounts_and_scopes_are_checked_and_scopes_stay() {
        for (spec, field) in [
            (json!({"hard": {"pods": "10", "count/widgets.example.com": "1", "limits.memory": "1Gi"}}), None),
            (json!({"hard": {"pods": "-1"}}), Some("spec.hard[pods]")),
            (json!({"hard": {"pods": "500m"}}), Some("spec.hard[pods]")),
            (json!({"hard": {"nonsense": "1"}}), Some("spec.hard[nonsense]")),
            (json!({"scopes": ["BestEffort", "NotBestEffort"]}), Some("spec.scopes")),
            (json!({"scopes": ["Sometimes"]}), Some("spec.scopes")),
            (
                json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}),
                Some("spec.scopeSelector.matchExpressions[0].values"),
            ),
        ] {
            let causes = ResourceQuota.validate(&json!({"spec": spec}));
            assert_eq!(causes.first().map(|cause| cause.field.as_str()), field, "{spec}");
        }
        let of = |scopes: Value| json!({"spec": {"scopes": scopes}});
        assert_eq!(ResourceQuota.validate_update(&of(json!(["Terminating"])), &of(json!([]))).len(), 1);
    }
}
