//! Node selectors, affinity, tolerations, taints and spreading.

use std::collections::HashSet;

use serde_json::Value;

use super::super::value::{int, list, text};
use crate::Pointed as _;
use crate::status::Cause;
use crate::validate::{
    Path, complaints, duplicate, invalid, invalid_text, label_key, label_value, not_supported, one_of, qualified_name, required,
    validate_label_selector,
};

const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "PreferNoSchedule"];

pub(super) fn check_node_labels(labels: Option<&Value>, at: &Path, causes: &mut Vec<Cause>) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        causes.extend(complaints(at, key, label_key(key)));
        let value = value.as_str().unwrap_or("");
        causes.extend(complaints(at, value, label_value(value)));
    }
}

pub(super) fn check_affinity(affinity: Option<&Value>, at: &Path, causes: &mut Vec<Cause>) {
    let Some(affinity) = affinity.filter(|affinity| !affinity.is_null()) else { return };
    let node = at.field("nodeAffinity");
    if let Some(selector) = affinity.at("/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution") {
        check_node_selector(selector, &node.field("requiredDuringSchedulingIgnoredDuringExecution"), causes);
    }
    let preferred = node.field("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in list(affinity, "/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
        let at = preferred.index(index);
        check_weight(term, &at, causes);
        check_node_term(term.get("preference").unwrap_or(&Value::Null), &at.field("preference"), causes);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = affinity.get(kind) else { continue };
        let kind = at.field(kind);
        let required_terms = kind.field("requiredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in list(affinity, "/requiredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            check_pod_term(term, &required_terms.index(index), causes);
        }
        let preferred = kind.field("preferredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in list(affinity, "/preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            let at = preferred.index(index);
            check_weight(term, &at, causes);
            check_pod_term(term.get("podAffinityTerm").unwrap_or(&Value::Null), &at.field("podAffinityTerm"), causes);
        }
    }
}

fn check_weight(term: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let weight = int(term, "/weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        causes.push(invalid(at.field("weight"), &weight.into(), "must be in the range 1-100"));
    }
}

fn check_pod_term(term: &Value, at: &Path, causes: &mut Vec<Cause>) {
    causes.extend(validate_label_selector(term.get("labelSelector"), &at.field("labelSelector")));
    causes.extend(validate_label_selector(term.get("namespaceSelector"), &at.field("namespaceSelector")));
    match text(term, "/topologyKey") {
        "" => causes.push(required(at.field("topologyKey"), "can not be empty")),
        key => causes.extend(complaints(at.field("topologyKey"), key, label_key(key))),
    }
}

/// `core/v1.NodeSelector`.
pub(in super::super) fn check_node_selector(selector: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let terms = at.field("nodeSelectorTerms");
    if list(selector, "/nodeSelectorTerms").is_empty() {
        causes.push(required(terms, "must have at least one node selector term"));
    }
    for (index, term) in list(selector, "/nodeSelectorTerms").iter().enumerate() {
        check_node_term(term, &terms.index(index), causes);
    }
}

fn check_node_term(term: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let expressions = at.field("matchExpressions");
    for (index, expression) in list(term, "/matchExpressions").iter().enumerate() {
        let at = expressions.index(index);
        let key = text(expression, "/key");
        causes.extend(complaints(at.field("key"), key, label_key(key)));
        let values = list(expression, "/values").len();
        match text(expression, "/operator") {
            "In" | "NotIn" if values == 0 => {
                causes.push(required(at.field("values"), "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if values > 0 => causes.push(crate::validate::forbidden(
                at.field("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Gt" | "Lt" if values != 1 => {
                causes.push(required(at.field("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'"));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            operator => causes.push(invalid_text(at.field("operator"), operator, "not a valid selector operator")),
        }
    }
    let fields = at.field("matchFields");
    for (index, field) in list(term, "/matchFields").iter().enumerate() {
        let at = fields.index(index);
        if text(field, "/key") != "metadata.name" {
            causes.push(invalid_text(at.field("key"), text(field, "/key"), "not a valid field selector key"));
        }
        if !matches!(text(field, "/operator"), "In" | "NotIn") {
            causes.push(invalid_text(at.field("operator"), text(field, "/operator"), "not a valid selector operator"));
        } else if list(field, "/values").len() != 1 {
            causes.push(required(
                at.field("values"),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            ));
        }
    }
}

pub(in super::super) fn check_tolerations(tolerations: &[Value], at: &Path, causes: &mut Vec<Cause>) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let at = at.index(index);
        let (key, operator, effect) = (text(toleration, "/key"), text(toleration, "/operator"), text(toleration, "/effect"));
        if !key.is_empty() {
            causes.extend(complaints(at.field("key"), key, label_key(key)));
        }
        if key.is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            causes.push(invalid_text(at.field("operator"), operator, why));
        }
        if toleration.get("tolerationSeconds").is_some_and(|seconds| !seconds.is_null()) && effect != "NoExecute" {
            causes.push(invalid_text(at.field("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"));
        }
        let value = text(toleration, "/value");
        match operator {
            "" | "Equal" => causes.extend(complaints(at.field("operator"), value, label_value(value))),
            "Exists" if !value.is_empty() => {
                causes.push(invalid(at.field("operator"), toleration, "value must be empty when `operator` is 'Exists'"));
            }
            "Exists" => {}
            other => causes.push(not_supported(at.field("operator"), other, &["Equal", "Exists"])),
        }
        causes.extend(one_of(at.field("effect"), effect, EFFECTS));
    }
}

/// Taints of a node: unique by key and effect.
pub(in super::super) fn check_taints(taints: &[Value], at: &Path, causes: &mut Vec<Cause>) {
    let mut seen = HashSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let at = at.index(index);
        let (key, value, effect) = (text(taint, "/key"), text(taint, "/value"), text(taint, "/effect"));
        causes.extend(complaints(at.field("key"), key, qualified_name(key)));
        causes.extend(complaints(at.field("value"), value, label_value(value)));
        match effect {
            "" => causes.push(required(at.field("effect"), "")),
            effect => causes.extend(one_of(at.field("effect"), effect, EFFECTS)),
        }
        if !seen.insert((key, effect)) {
            causes.push(duplicate(at, taint));
        }
    }
}

pub(super) fn check_spreading(spec: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let mut seen = HashSet::new();
    for (index, constraint) in list(spec, "/topologySpreadConstraints").iter().enumerate() {
        let at = at.index(index);
        let skew = int(constraint, "/maxSkew").unwrap_or(0);
        if skew <= 0 {
            causes.push(invalid(at.field("maxSkew"), &skew.into(), "must be greater than zero"));
        }
        let key = text(constraint, "/topologyKey");
        match key {
            "" => causes.push(required(at.field("topologyKey"), "can not be empty")),
            key => causes.extend(complaints(at.field("topologyKey"), key, label_key(key))),
        }
        let action = text(constraint, "/whenUnsatisfiable");
        if !matches!(action, "DoNotSchedule" | "ScheduleAnyway") {
            causes.push(not_supported(at.field("whenUnsatisfiable"), action, &["DoNotSchedule", "ScheduleAnyway"]));
        }
        if !seen.insert((key, action)) {
            causes.push(duplicate(at.field("{topologyKey, whenUnsatisfiable}"), &Value::String(format!("{{{key}, {action}}}"))));
        }
        if let Some(domains) = int(constraint, "/minDomains")
            && domains <= 0
        {
            causes.push(invalid(at.field("minDomains"), &domains.into(), "must be greater than zero"));
        }
        causes.extend(validate_label_selector(constraint.get("labelSelector"), &at.field("labelSelector")));
    }
}
