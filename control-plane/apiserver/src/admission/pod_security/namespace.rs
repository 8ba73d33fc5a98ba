//! Labels of a namespace that change what its pods are held to: they must be right, and who sets them is told which pods
//! that run would not be let in any more.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mizzen_api::{Object, Status};
use serde_json::Value;
use tokio::time::Instant;

use super::super::{Attributes, decoded};
use super::checks::{Pod, violations};
use super::policy::{Level, Policy, Standard};

/// So many pods are looked at, for so long.
const PODS: usize = 3000;
const PATIENCE: Duration = Duration::from_secs(1);

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
    let pods = attributes.stored("", "pods", attributes.name())?;
    let warnings = tell(attributes.name(), now, &pods, Instant::now() + PATIENCE)?;
    warnings.into_iter().for_each(|warning| attributes.warnings.add(warning));
    Ok(())
}

/// The warnings about pods that violate a standard, each kind of violation once.
///
/// # Errors
/// When a pod cannot be decoded.
fn tell(namespace: &str, standard: Standard, pods: &[Arc<Object>], until: Instant) -> Result<Vec<String>, Status> {
    let total = pods.len();
    let mut looked_at = 0;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in first_of_each_controller(pods).into_iter().take(PODS) {
        if looked_at > 0 && Instant::now() >= until {
            break;
        }
        looked_at += 1;
        let pod = decoded(pod)?;
        let reasons: Vec<String> = violations(standard, &Pod::of(&pod)).into_iter().map(|violation| violation.reason).collect();
        if !reasons.is_empty() {
            let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            found.entry(reasons.join(", ")).or_default().push(name.to_owned());
        }
    }
    let mut warnings = Vec::new();
    if looked_at < total {
        let checked =
            format!("new PodSecurity enforce level only checked against the first {looked_at} of {total} existing pods");
        warnings.push(checked);
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
    Ok(warnings)
}

/// One pod of each controller comes before its others, which are most likely the same.
fn first_of_each_controller(pods: &[Arc<Object>]) -> Vec<&Object> {
    let mut seen = HashSet::new();
    let (mut first, mut more) = (Vec::new(), Vec::new());
    for pod in pods {
        let controller = pod.head().owner_references.iter().find(|owner| owner.controller == Some(true));
        match controller {
            Some(owner) if !seen.insert(owner.uid.as_str()) => more.push(&**pod),
            _ => first.push(&**pod),
        }
    }
    first.extend(more);
    first
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(pod: &Value) -> Arc<Object> {
        Arc::new(Object::new(serde_json::to_vec(pod).expect("encodes"), 1))
    }

    #[test]
    fn pods_that_would_not_be_let_in_are_named_by_what_they_violate() {
        let pod = |name: &str, spec: Value| stored(&json!({"metadata": {"name": name}, "spec": spec}));
        let later = Instant::now() + Duration::from_secs(3600);
        let root = json!({"containers": [{"name": "c", "securityContext": {"privileged": true}}]});
        let pods = vec![pod("b", root.clone()), pod("a", root), pod("h", json!({"hostPID": true})), pod("fine", json!({}))];
        let baseline = Standard { level: Level::Baseline, minor: None };
        assert_eq!(
            tell("n", baseline, &pods, later).expect("pods"),
            [
                "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
                "a (and 1 other pod): privileged",
                "h: host namespaces"
            ]
        );
        assert!(tell("n", baseline, &[pod("fine", json!({}))], later).expect("pods").is_empty());
    }

    #[test]
    fn one_pod_of_each_controller_is_looked_at_before_time_is_up() {
        let replica = |name: &str, controller: &str| {
            let owners = json!([{"uid": "other"}, {"uid": controller, "controller": true}]);
            stored(&json!({"metadata": {"name": name, "ownerReferences": owners}, "spec": {"hostPID": true}}))
        };
        let pods = vec![replica("a-1", "a"), replica("a-2", "a"), replica("b-1", "b")];
        let names: Vec<&str> = first_of_each_controller(&pods).iter().map(|pod| pod.head().name.as_str()).collect();
        assert_eq!(names, ["a-1", "b-1", "a-2"]);
        let baseline = Standard { level: Level::Baseline, minor: None };
        assert_eq!(
            tell("n", baseline, &pods, Instant::now()).expect("pods"),
            [
                "new PodSecurity enforce level only checked against the first 1 of 3 existing pods",
                "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
                "a-1: host namespaces"
            ]
        );
    }
}
