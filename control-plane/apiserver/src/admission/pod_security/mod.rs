//! PodSecurity: holds the pods of a namespace to the standards that its labels name, refusing or warning, and warns of
//! workloads whose pods would violate them.

mod checks;
mod namespace;
mod policy;

use std::collections::BTreeMap;

use async_trait::async_trait;
use mizzen_api::Status;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use checks::{Pod, in_detail, violations};
use policy::{Level, Policy};

pub(super) struct PodSecurity;

/// Subresources of a pod that leave what is checked as it is.
const IGNORED: &[&str] = &["attach", "binding", "eviction", "exec", "log", "portforward", "proxy", "status"];

/// Where workloads hold the template of their pods.
const TEMPLATES: &[(&str, &str, &str)] = &[
    ("", "podtemplates", "/template"),
    ("", "replicationcontrollers", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
    ("batch", "jobs", "/spec/template"),
];

#[async_trait]
impl Plugin for PodSecurity {
    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(object) = object.filter(|_| matches!(attributes.operation, Operation::Create | Operation::Update)) else {
            return Ok(());
        };
        if attributes.target.is_pod() {
            return match IGNORED.contains(&attributes.subresource()) {
                true => Ok(()),
                false => pod(attributes, object),
            };
        }
        if !attributes.subresource().is_empty() {
            return Ok(());
        }
        if attributes.target.is_namespace() {
            return namespace::check(attributes, object);
        }
        let held = TEMPLATES.iter().find(|held| (held.0, held.1) == (attributes.group(), attributes.resource()));
        if let Some(template) = held.and_then(|(_, _, at)| object.pointer(at)).filter(|template| !template.is_null()) {
            warn(attributes, &policy_of(attributes), template);
        }
        Ok(())
    }
}

fn policy_of(attributes: &Attributes<'_>) -> Policy {
    let namespace = attributes.lookup("namespaces", "", attributes.namespace());
    match namespace {
        Some(namespace) => Policy::of(&namespace.head().labels).0,
        None => Policy::of(&BTreeMap::new()).0,
    }
}

fn pod(attributes: &Attributes<'_>, pod: &Value) -> Result<(), Status> {
    let policy = policy_of(attributes);
    if policy.enforce.level == Level::Privileged && policy.warn.level == Level::Privileged {
        return Ok(());
    }
    if attributes.old.is_some_and(|old| !is_significant(pod, old)) {
        return Ok(());
    }
    let found = violations(policy.enforce, &Pod::of(pod));
    if !found.is_empty() {
        let standard = policy.enforce.to_string();
        return Err(attributes.forbid(&format!("violates PodSecurity {standard:?}: {}", in_detail(&found))));
    }
    warn(attributes, &policy, pod);
    Ok(())
}

fn warn(attributes: &Attributes<'_>, policy: &Policy, pod: &Value) {
    let found = violations(policy.warn, &Pod::of(pod));
    if !found.is_empty() {
        let standard = policy.warn.to_string();
        attributes.warnings.add(format!("would violate PodSecurity {standard:?}: {}", in_detail(&found)));
    }
}

/// Whether an update runs something else than before: little of a pod can change, and most of it is not looked at.
fn is_significant(pod: &Value, old: &Value) -> bool {
    let images = |pod: &Value, list: &str| -> Vec<(Value, Value)> {
        let containers = pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
        containers.into_iter().flatten().map(|container| (container["name"].clone(), container["image"].clone())).collect()
    };
    let differs = |list: &str| {
        let of = |pod: &Value| images(pod, list).into_iter().map(|(_, image)| image).collect::<Vec<_>>();
        of(pod) != of(old)
    };
    let before = images(old, "ephemeralContainers");
    differs("containers")
        || differs("initContainers")
        || images(pod, "ephemeralContainers").iter().any(|container| !before.contains(container))
}
