//! What containers and pods ask for, and how it may change (`core/validation.ValidateContainerResourceRequirements`).

use std::collections::HashSet;

use serde_json::Value;

use super::super::value::{entries, list, text};
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::validate::{
    Path, check_quantity, complaints, duplicate, forbidden, invalid, invalid_text, not_found, not_supported, qualified_name,
    required,
};

const HUGE_PAGES: &str = "hugepages-";

/// A resource that a device plugin offers, which cannot be shared out by halves.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
}

pub(super) fn check_resources(resources: Option<&Value>, at: &Path, causes: &mut Vec<Cause>) {
    let Some(resources) = resources else { return };
    for which in ["limits", "requests"] {
        let at = at.field(which);
        for (name, amount) in entries(resources, &format!("/{which}")) {
            let at = at.key(name);
            causes.extend(complaints(&at, name, qualified_name(name)));
            let known = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with(HUGE_PAGES);
            if !name.contains('/') && !known {
                causes.push(invalid_text(at, name, "must be a standard resource for containers"));
            }
            check_quantity(amount, &at, causes);
            if is_extended(name) && Quantity::from_value(amount).is_ok_and(|amount| amount.milli_value() % 1000 != 0) {
                causes.push(invalid(at, amount, "must be an integer"));
            }
        }
    }
    check_requests(Some(resources), at, causes);
    let limits = at.field("limits");
    for (name, _) in entries(resources, "/requests").filter(|(name, _)| is_extended(name) || name.starts_with(HUGE_PAGES)) {
        if resources.get("limits").and_then(|limits| limits.get(name)).is_none() {
            causes.push(required(limits, "Limit must be set for non overcommitable resources"));
        }
    }
    let asks = |wanted: fn(&str) -> bool| {
        ["/limits", "/requests"].iter().any(|which| entries(resources, which).any(|(name, _)| wanted(name)))
    };
    if asks(|name| name.starts_with(HUGE_PAGES)) && !asks(|name| matches!(name, "cpu" | "memory")) {
        causes.push(forbidden(at, "HugePages require cpu or memory"));
    }
}

/// No request is above its limit; one of what cannot be overcommitted is as large.
pub(super) fn check_requests(resources: Option<&Value>, at: &Path, causes: &mut Vec<Cause>) {
    let Some(resources) = resources else { return };
    for (name, request) in entries(resources, "/requests") {
        let limit = resources.get("limits").and_then(|limits| limits.get(name));
        let (Ok(asked), Some(Ok(limit))) = (Quantity::from_value(request), limit.map(Quantity::from_value)) else { continue };
        let path = at.field("requests");
        if asked > limit {
            causes.push(invalid(path, request, format!("must be less than or equal to {name} limit of {limit}")));
        } else if asked != limit && (name.contains('/') || name.starts_with(HUGE_PAGES)) {
            causes.push(invalid(path, request, format!("must be equal to {name} limit of {limit}")));
        }
    }
}

/// The claims that a container asks for are the pod's.
pub(super) fn check_claims(container: &Value, spec: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let asked = list(container, "/resources/claims");
    if asked.is_empty() {
        return;
    }
    let of_pod: HashSet<&str> = list(spec, "/resourceClaims").iter().map(|claim| text(claim, "/name")).collect();
    // Told once: a long list beside each of many names would be a message of gigabytes.
    let mut names = match of_pod.is_empty() {
        true => " which is empty".to_owned(),
        false => {
            let some: Vec<&str> = list(spec, "/resourceClaims").iter().take(16).map(|claim| text(claim, "/name")).collect();
            format!(": {}", some.join(", "))
        }
    };
    for (index, claim) in asked.iter().enumerate() {
        let at = at.index(index);
        match text(claim, "/name") {
            "" => causes.push(required(at.field("name"), "")),
            name if of_pod.contains(name) => {}
            name => {
                let mut cause = not_found(at, name);
                let names = std::mem::take(&mut names);
                cause.message.push_str(&format!(": must be one of the names in pod.spec.resourceClaims{names}"));
                causes.push(cause);
            }
        }
    }
}

pub(super) fn check_resize_policies(container: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let mut before = HashSet::new();
    for (index, policy) in list(container, "/resizePolicy").iter().enumerate() {
        let name = text(policy, "/resourceName");
        if !before.insert(name) {
            causes.push(duplicate(at.index(index), &name.into()));
        }
        for (value, known) in [(name, ["cpu", "memory"]), (text(policy, "/restartPolicy"), ["NotRequired", "RestartContainer"])] {
            match value {
                "" => causes.push(required(at, "")),
                value if known.contains(&value) => {}
                value => causes.push(not_supported(at, value, &known)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn resources_that_cannot_be_had_are_named() {
        for (resources, wrong) in [
            (json!({"limits": {"a.b/c": "1"}, "requests": {"cpu": "1"}}), vec![]),
            (json!({"limits": {"hugepages-2Mi": "2Mi", "memory": "1Gi"}}), vec![]),
            (json!({"requests": {"kubernetes.io/x": "1.5"}}), vec![]),
            (json!({"limits": {"hugepages-2Mi": "2Mi"}}), vec!["resources: Forbidden: HugePages require cpu or memory"]),
            (json!({"limits": {"a.b/c": "1.5"}}), vec!["resources.limits[a.b/c]: Invalid value: \"1.5\": must be an integer"]),
            (
                json!({"requests": {"a.b/c": 1}}),
                vec!["resources.limits: Required value: Limit must be set for non overcommitable resources"],
            ),
            (
                json!({"requests": {"a.b/c": 1}, "limits": {"a.b/c": 2}}),
                vec!["resources.requests: Invalid value: 1: must be equal to a.b/c limit of 2"],
            ),
        ] {
            let mut causes = Vec::new();
            check_resources(Some(&resources), &Path::root("resources"), &mut causes);
            let told: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
            assert_eq!(told, wrong, "{resources}");
        }
    }

    #[test]
    fn resize_policies_name_what_can_be_resized() {
        let container = json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"},
            {"resourceName": "cpu", "restartPolicy": "X"}, {"resourceName": "gpu"}]});
        let mut causes = Vec::new();
        check_resize_policies(&container, &Path::root("resizePolicy"), &mut causes);
        let told: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        assert_eq!(
            told,
            [
                "resizePolicy[1]: Duplicate value: \"cpu\"",
                "resizePolicy: Unsupported value: \"X\": supported values: \"NotRequired\", \"RestartContainer\"",
                "resizePolicy: Unsupported value: \"gpu\": supported values: \"cpu\", \"memory\"",
                "resizePolicy: Required value",
            ]
        );
    }
}
