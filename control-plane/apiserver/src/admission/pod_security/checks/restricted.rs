//! `restricted`: all of `baseline`, and this.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::{added_capabilities, is_profile, proc_mount, seccomp};
use super::{Check, Fields, Pod, Violation, containers, plural, quoted, violation};

pub(super) const CHECKS: &[Check] = &[
    Check { id: "allowPrivilegeEscalation", overrides: "", versions: &[(8, escalation), (25, escalation_25)] },
    Check {
        id: "capabilities_restricted",
        overrides: "capabilities_baseline",
        versions: &[(22, capabilities), (25, capabilities_25)],
    },
    Check { id: "procMount_restricted", overrides: "procMount", versions: &[(35, proc_mount)] },
    Check { id: "restrictedVolumes", overrides: "hostPathVolumes", versions: &[(0, volumes)] },
    Check { id: "runAsNonRoot", overrides: "", versions: &[(0, non_root), (35, non_root_35)] },
    Check { id: "runAsUser", overrides: "", versions: &[(23, user), (35, user_35)] },
    Check {
        id: "seccompProfile_restricted",
        overrides: "seccompProfile_baseline",
        versions: &[(19, seccomp_set), (25, seccomp_set_25)],
    },
];

const VOLUMES: &[&str] =
    &["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"];

fn unless_windows(pod: &Pod<'_>, check: super::Run) -> Option<Violation> {
    if pod.is_windows() { None } else { check(pod) }
}

fn unless_own_users(pod: &Pod<'_>, check: super::Run) -> Option<Violation> {
    if pod.has_own_users() { None } else { check(pod) }
}

fn escalation(pod: &Pod<'_>) -> Option<Violation> {
    let keeps = pod
        .containers()
        .filter(|container| container.security("/allowPrivilegeEscalation").and_then(Value::as_bool) != Some(false));
    let names: Vec<&str> = keeps.map(|container| container.name()).collect();
    let detail = || format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
    (!names.is_empty()).then(|| violation("allowPrivilegeEscalation != false", detail())).flatten()
}

fn escalation_25(pod: &Pod<'_>) -> Option<Violation> {
    unless_windows(pod, escalation)
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let drops_all =
        |dropped: Option<&Value>| dropped.and_then(Value::as_array).is_some_and(|list| list.iter().any(|c| c == "ALL"));
    let keeps = pod.containers().filter(|container| !drops_all(container.security("/capabilities/drop")));
    let names: Vec<&str> = keeps.map(|container| container.name()).collect();
    let (adding, added) = added_capabilities(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !names.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&names)));
    }
    if !adding.is_empty() {
        let what = quoted(&added);
        details.push(format!("{} must not include {what} in securityContext.capabilities.add", containers(&adding)));
    }
    (!details.is_empty()).then(|| violation("unrestricted capabilities", details.join("; "))).flatten()
}

fn capabilities_25(pod: &Pod<'_>) -> Option<Violation> {
    unless_windows(pod, capabilities)
}

fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    let (mut kinds, mut names) = (BTreeSet::new(), Vec::new());
    for volume in pod.volumes() {
        let sources = volume.as_object().into_iter().flatten().filter(|(field, value)| *field != "name" && !value.is_null());
        let sources: Vec<&str> = sources.map(|(field, _)| field.as_str()).collect();
        if !sources.iter().any(|source| VOLUMES.contains(source)) {
            kinds.insert(sources.first().copied().unwrap_or("unknown"));
            names.push(volume.get("name").and_then(Value::as_str).unwrap_or_default());
        }
    }
    if names.is_empty() {
        return None;
    }
    let (what, uses) = (plural("volume", "volumes", names.len()), plural("uses", "use", names.len()));
    let types = plural("restricted volume type", "restricted volume types", kinds.len());
    violation("restricted volume types", format!("{what} {} {uses} {types} {}", quoted(&names), quoted(&kinds)))
}

/// The containers that neither say a thing themselves nor have it said by the pod.
fn without<'a>(pod: &Pod<'a>, pointer: &str, said_by_pod: bool) -> Vec<&'a str> {
    let silent = pod.containers().filter(|container| !said_by_pod && container.security(pointer).is_none());
    silent.map(|container| container.name()).collect()
}

fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let at = "/runAsNonRoot";
    let fields = Fields::of(pod, at, |value| value.as_bool() == Some(false));
    if fields.found() {
        return violation(REASON, format!("{} must not set securityContext.runAsNonRoot=false", fields.setters()));
    }
    let names = without(pod, at, pod.security(at).is_some_and(super::is_true));
    let detail = || format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&names));
    (!names.is_empty()).then(|| violation(REASON, detail())).flatten()
}

fn non_root_35(pod: &Pod<'_>) -> Option<Violation> {
    unless_own_users(pod, non_root)
}

fn user(pod: &Pod<'_>) -> Option<Violation> {
    let fields = Fields::of(pod, "/runAsUser", |value| value.as_i64() == Some(0));
    let detail = || format!("{} must not set runAsUser=0", fields.setters());
    fields.found().then(|| violation("runAsUser=0", detail())).flatten()
}

fn user_35(pod: &Pod<'_>) -> Option<Violation> {
    unless_own_users(pod, user)
}

fn seccomp_set(pod: &Pod<'_>) -> Option<Violation> {
    if let Some(wrong) = seccomp(pod) {
        return Some(wrong);
    }
    let names = without(pod, "/seccompProfile", pod.security("/seccompProfile/type").is_some_and(is_profile));
    let detail = || {
        format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&names)
        )
    };
    (!names.is_empty()).then(|| violation("seccompProfile", detail())).flatten()
}

fn seccomp_set_25(pod: &Pod<'_>) -> Option<Violation> {
    unless_windows(pod, seccomp_set)
}
