//! Which requests a flow schema is about.

use serde_json::Value;

use super::super::value::{absent, flag, list, text};
use crate::status::Cause;
use crate::validate::{
    Path, complaints, dns1123_label, dns1123_subdomain, forbidden, invalid, invalid_text, not_supported, required,
};

const VERBS: &[&str] = &["*", "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
/// The kinds of subjects, and the field that describes each.
const SUBJECTS: &[(&str, &str)] = &[("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];

pub(super) fn check_rule(rule: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let subjects = at.field("subjects");
    if list(rule, "/subjects").is_empty() {
        causes.push(required(subjects, "subjects must contain at least one value"));
    }
    for (index, subject) in list(rule, "/subjects").iter().enumerate() {
        check_subject(subject, &subjects.index(index), causes);
    }
    let (resources, urls) = (list(rule, "/resourceRules"), list(rule, "/nonResourceRules"));
    if resources.is_empty() && urls.is_empty() {
        causes.push(required(at, "at least one of resourceRules and nonResourceRules has to be non-empty"));
    }
    let path = at.field("resourceRules");
    for (index, rule) in resources.iter().enumerate() {
        check_resources(rule, &path.index(index), causes);
    }
    let path = at.field("nonResourceRules");
    for (index, rule) in urls.iter().enumerate() {
        let at = path.index(index);
        check_list(rule, "verbs", "verbs must contain at least one value", &at, causes);
        check_verbs(rule, &at, causes);
        check_list(rule, "nonResourceURLs", "nonResourceURLs must contain at least one value", &at, causes);
    }
}

fn check_subject(subject: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let kind = text(subject, "/kind");
    let Some((_, field)) = SUBJECTS.iter().find(|(known, _)| *known == kind) else {
        let known: Vec<&str> = SUBJECTS.iter().map(|(kind, _)| *kind).collect();
        causes.push(not_supported(at.field("kind"), kind, &known));
        return;
    };
    for (other_kind, other) in SUBJECTS.iter().filter(|(_, other)| other != field && !absent(subject, &format!("/{other}"))) {
        causes.push(forbidden(at.field(other), &format!("{other} is forbidden when subject kind is not '{other_kind}'")));
    }
    if absent(subject, &format!("/{field}")) {
        causes.push(required(at.field(field), &format!("{field} is required when subject kind is '{kind}'")));
        return;
    }
    let at = at.field(field);
    let name = text(subject, &format!("/{field}/name"));
    if name.is_empty() {
        causes.push(required(at.field("name"), ""));
    } else if kind == "ServiceAccount" && name != "*" {
        causes.extend(complaints(at.field("name"), name, dns1123_subdomain(name)));
    }
    if kind == "ServiceAccount" {
        match text(subject, "/serviceAccount/namespace") {
            "" => causes.push(required(at.field("namespace"), "must specify namespace for service account")),
            namespace => causes.extend(complaints(at.field("namespace"), namespace, dns1123_label(namespace))),
        }
    }
}

fn check_resources(rule: &Value, at: &Path, causes: &mut Vec<Cause>) {
    check_list(rule, "verbs", "verbs must contain at least one value", at, causes);
    check_verbs(rule, at, causes);
    check_list(rule, "apiGroups", "resource rules must supply at least one api group", at, causes);
    check_list(rule, "resources", "resource rules must supply at least one resource", at, causes);
    let namespaces = list(rule, "/namespaces");
    if namespaces.is_empty() && !flag(rule, "/clusterScope") {
        causes.push(required(
            at.field("namespaces"),
            "resource rules that are not cluster scoped must supply at least one namespace",
        ));
    }
    let path = at.field("namespaces");
    for (index, namespace) in namespaces.iter().filter_map(Value::as_str).enumerate().filter(|(_, name)| *name != "*") {
        causes.extend(complaints(path.index(index), namespace, dns1123_label(namespace)));
    }
}

/// A list that must hold something, and nothing beside `*`.
fn check_list(rule: &Value, field: &str, empty: &str, at: &Path, causes: &mut Vec<Cause>) {
    let values = list(rule, &format!("/{field}"));
    if values.is_empty() {
        causes.push(required(at.field(field), empty));
    }
    if values.len() > 1 && values.iter().any(|value| value == "*") {
        let what = match field {
            "apiGroups" => "api groups",
            "nonResourceURLs" => "non-resource URLs",
            other => other,
        };
        causes.push(invalid(at.field(field), &values.into(), format!("if '*' is present, must not specify other {what}")));
    }
    if field == "nonResourceURLs" {
        let path = at.field(field);
        for (index, url) in values.iter().filter_map(Value::as_str).enumerate().filter(|(_, url)| *url != "*") {
            if !url.starts_with('/') {
                causes.push(invalid_text(path.index(index), url, "must start with slash"));
            }
        }
    }
}

fn check_verbs(rule: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let verbs: Vec<&str> = list(rule, "/verbs").iter().filter_map(Value::as_str).collect();
    if let Some(unknown) = verbs.iter().find(|verb| !VERBS.contains(verb)) {
        causes.push(not_supported(at.field("verbs"), unknown, VERBS));
    }
}
