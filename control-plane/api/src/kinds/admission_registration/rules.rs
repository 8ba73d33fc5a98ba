//! What webhooks and policies match.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::value::{fill, list, list_mut, text};
use crate::status::Cause;
use crate::validate::{
    Path, complaints, duplicate, invalid, not_supported, one_of, qualified_name, required, too_many, validate_label_selector,
};

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const MAX_CONDITIONS: usize = 64;

/// Selectors, match policy and scopes of a webhook or of `matchConstraints`; `rules` is where the rules are.
pub(super) fn default_match(matching: &mut Value, rules: &[&str]) {
    fill(matching, "matchPolicy", "Equivalent");
    for field in ["namespaceSelector", "objectSelector"] {
        fill(matching, field, json!({}));
    }
    for pointer in rules {
        list_mut(matching, pointer).for_each(|rule| fill(rule, "scope", "*"));
    }
}

/// Checks the selectors, match policy and rules of `matchConstraints`; `rules` is where the rules are.
pub fn check_match(matching: &Value, rules: &[&str], at: &Path, causes: &mut Vec<Cause>) {
    causes.extend(one_of(at.field("matchPolicy"), text(matching, "/matchPolicy"), &["Equivalent", "Exact"]));
    for field in ["namespaceSelector", "objectSelector"] {
        causes.extend(validate_label_selector(matching.get(field), &at.field(field)));
    }
    for field in rules {
        let path = at.field(field);
        for (index, rule) in list(matching, &format!("/{field}")).iter().enumerate() {
            check_rule(rule, &path.index(index), causes);
        }
    }
}

fn check_rule(rule: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let operations: Vec<&str> = list(rule, "/operations").iter().filter_map(Value::as_str).collect();
    for field in ["operations", "apiGroups", "apiVersions", "resources"] {
        let values = list(rule, &format!("/{field}"));
        if values.is_empty() {
            causes.push(required(at.field(field), ""));
        }
        if field != "resources" && values.len() > 1 && values.iter().any(|value| value == "*") {
            let why = match field {
                "operations" => "if '*' is present, must not specify other operations",
                "apiGroups" => "if '*' is present, must not specify other API groups",
                _ => "if '*' is present, must not specify other API versions",
            };
            causes.push(invalid(at.field(field), &values.into(), why));
        }
    }
    let path = at.field("operations");
    for (index, operation) in operations.iter().enumerate().filter(|(_, operation)| !OPERATIONS.contains(operation)) {
        causes.push(not_supported(path.index(index), operation, OPERATIONS));
    }
    let resources = at.field("resources");
    for (index, resource) in list(rule, "/resources").iter().filter_map(Value::as_str).enumerate() {
        if resource.is_empty() || resource.starts_with('/') || resource.ends_with('/') {
            causes.push(required(resources.index(index), "resource and subresource must not be empty"));
        }
    }
    causes.extend(one_of(at.field("scope"), text(rule, "/scope"), &["*", "Cluster", "Namespaced"]));
}

/// Checks the names of `matchConditions`, and that there are expressions.
pub fn check_match_conditions(object: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let (conditions, path) = (list(object, "/matchConditions"), at.field("matchConditions"));
    if conditions.len() > MAX_CONDITIONS {
        causes.push(too_many(path, conditions.len(), MAX_CONDITIONS));
    }
    let mut names = HashSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let at = path.index(index);
        if text(condition, "/expression").trim().is_empty() {
            causes.push(required(at.field("expression"), ""));
        }
        match text(condition, "/name") {
            "" => causes.push(required(at.field("name"), "")),
            name => {
                causes.extend(complaints(at.field("name"), name, qualified_name(name)));
                if !names.insert(name) {
                    causes.push(duplicate(at.field("name"), &name.into()));
                }
            }
        }
    }
}
