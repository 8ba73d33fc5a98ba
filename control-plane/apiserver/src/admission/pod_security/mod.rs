//! PodSecurity: holds the pods of a namespace to the standards that its labels name, refusing, noting it in the audit log or
//! warning; and notes and warns of workloads whose pods would violate them.

mod checks;
mod namespace;
mod policy;

use std::collections::BTreeMap;

use async_trait::async_trait;
use mizzen_api::Status;
use mizzen_api::status::Cause;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::audit;
use checks::{Pod, in_detail, violations};
use policy::{Level, Policy, Standard};

pub(super) struct PodSecurity;

/// Audit annotations.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce-policy";
const VIOLATIONS: &str = "pod-security.kubernetes.io/audit-violations";
const ERROR: &str = "pod-security.kubernetes.io/error";

/// Subresources of a pod that leave what is checked as it is.
const IGNORED: &[&str] = &["attach", "binding", "eviction", "exec", "log", "portforward", "proxy", "status"];

/// Where workloads hold the template of their pods.
pub(super) const TEMPLATES: &[(&str, &str, &str)] = &[
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
            let (policy, wrong) = policy_of(attributes);
            if policy.audit.level > Level::Privileged || policy.warn.level > Level::Privileged || !wrong.is_empty() {
                note(&policy, &wrong, template);
                warn(attributes, &policy, template);
            }
        }
        Ok(())
    }
}

/// What the namespace asks for, and what is wrong with how it says so.
fn policy_of(attributes: &Attributes<'_>) -> (Policy, Vec<Cause>) {
    let namespace = attributes.lookup("namespaces", "", attributes.namespace());
    match namespace {
        Some(namespace) => Policy::of(&namespace.head().labels),
        None => Policy::of(&BTreeMap::new()),
    }
}

fn pod(attributes: &Attributes<'_>, pod: &Value) -> Result<(), Status> {
    let (policy, wrong) = policy_of(attributes);
    let enforced = || audit::annotate(ENFORCED, || policy.enforce.to_string());
    if [policy.enforce, policy.audit, policy.warn].iter().all(|standard| standard.level == Level::Privileged) {
        enforced();
        return Ok(());
    }
    if attributes.old.is_some_and(|old| !is_significant(pod, old)) {
        return Ok(());
    }
    enforced();
    note(&policy, &wrong, pod);
    let found = violations(policy.enforce, &Pod::of(pod));
    if !found.is_empty() {
        let standard = policy.enforce.to_string();
        return Err(attributes.forbid(&format!("violates PodSecurity {standard:?}: {}", in_detail(&found))));
    }
    warn(attributes, &policy, pod);
    Ok(())
}

/// Says in the audit log what the namespace wants noted.
fn note(policy: &Policy, wrong: &[Cause], pod: &Value) {
    audit::annotate_if(VIOLATIONS, || would_violate(policy.audit, pod));
    audit::annotate_if(ERROR, || {
        let mut wrong: Vec<String> = wrong.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let told = match wrong.len() {
            0 => return None,
            1 => wrong.remove(0),
            _ => format!("[{}]", wrong.join(", ")),
        };
        Some(format!("Failed to parse policy: {told}"))
    });
}

fn would_violate(standard: Standard, pod: &Value) -> Option<String> {
    let found = violations(standard, &Pod::of(pod));
    let standard = standard.to_string();
    (!found.is_empty()).then(|| format!("would violate PodSecurity {standard:?}: {}", in_detail(&found)))
}

fn warn(attributes: &Attributes<'_>, policy: &Policy, pod: &Value) {
    if let Some(warning) = would_violate(policy.warn, pod) {
        attributes.warnings.add(warning);
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
