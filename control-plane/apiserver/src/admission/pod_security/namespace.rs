//! Labels of a namespace that change what its pods are held to: they must be right, and who sets them is told which pods
//! that run would not be let in any more.

use std::collections::{BTreeMap, HashSet};

use mizzen_api::Status;
use serde_json::Value;

use super::super::Attributes;
use super::checks::{Pod, violations};
use super::policy::{Level, Policy, Standard};

/// So many pods are looked at.
const PODS: usize = 3000;

fn labels(namespace: &Value) -> BTreeMap<String, String> {
    let labels = namespace.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

pub(super) fn check(attributes: &Attributes<'_>, namespace: &Value) -> Result<(), Status> {
    let (policy, causes) = Policy::of(&labels(namespace));
    let old = attributes.old.map(|old| Policy::of(&labels(old)));
    let (before, known) = match &old {
        Some((before, known)) => (Some(before), known.as_slice()),
        None => (None, [].as_slice()),
    };
    if !causes.is_empty() && causes != known {
        return Err(crate::errors::invalid(&attributes.target.descriptor, attributes.name(), causes));
    }
    let (Some(before), now) = (before.map(|before| before.enforce), policy.enforce) else { return Ok(()) };
    let relaxed = now.minor == before.minor && now.level <= before.level;
    if now == before || now.level == Level::Privileged || relaxed {
        return Ok(());
    }
    let pods = attributes.list("", "pods", attributes.name())?;
    tell(attributes.name(), now, pods).into_iter().for_each(|warning| attributes.warnings.add(warning));
    Ok(())
}

/// The warnings about pods that violate a standard, each kind of violation once.
fn tell(namespace: &str, standard: Standard, pods: Vec<Value>) -> Vec<String> {
    let total = pods.len();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in first_of_each_controller(pods).into_iter().take(PODS) {
        let reasons: Vec<String> = violations(standard, &Pod::of(&pod)).into_iter().map(|violation| violation.reason).collect();
        if !reasons.is_empty() {
            let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            found.entry(reasons.join(", ")).or_default().push(name.to_owned());
        }
    }
    let mut warnings = Vec::new();
    if total > PODS {
        warnings.push(format!("new PodSecurity enforce level only checked against the first {PODS} of {total} existing pods"));
    }
    if !found.is_empty() {
        let standard = standard.to_string();
        warnings.push(format!("existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {standard:?}"));
    }
    let mut each: Vec<String> = found
        .into_iter()
        .map(|(reasons, mut names)| {
            names.sort_unstable();
            let first = names.first().map(String::as_str).unwrap_or_default();
            match names.len() {
                1 => format!("{first}: {reasons}"),
                2 => format!("{first} (and 1 other pod): {reasons}"),
                more => format!("{first} (and {} other pods): {reasons}", more - 1),
            }
        })
        .collect();
    each.sort_unstable();
    warnings.extend(each);
    warnings
}

/// One pod of each controller comes before its others, which are most likely the same.
fn first_of_each_controller(pods: Vec<Value>) -> Vec<Value> {
    let controller = |pod: &Value| {
        let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
        let mut owners = owners.filter(|owner| owner["controller"] == true);
        owners.next().and_then(|owner| owner["uid"].as_str().map(str::to_owned))
    };
    let mut seen = HashSet::new();
    let (mut first, mut more) = (Vec::new(), Vec::new());
    for pod in pods {
        match controller(&pod) {
            Some(uid) if !seen.insert(uid.clone()) => more.push(pod),
            _ => first.push(pod),
        }
    }
    first.extend(more);
    first
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_that_would_not_be_let_in_are_named_by_what_they_violate() {
        let pod = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        let root = json!({"containers": [{"name": "c", "securityContext": {"privileged": true}}]});
        let pods = vec![pod("b", root.clone()), pod("a", root), pod("h", json!({"hostPID": true})), pod("fine", json!({}))];
        let baseline = Standard { level: Level::Baseline, minor: None };
        assert_eq!(
            tell("n", baseline, pods),
            [
                "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
                "a (and 1 other pod): privileged",
                "h: host namespaces"
            ]
        );
        assert!(tell("n", baseline, vec![pod("fine", json!({}))]).is_empty());
    }
}
