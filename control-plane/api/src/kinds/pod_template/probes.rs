//! Probes and lifecycle hooks.

use serde_json::Value;

use super::super::value::{int, list, text};
use super::containers::Role;
use crate::status::Cause;
use crate::validate::{
    Path, complaints, forbidden, invalid, invalid_text, non_negative, one_of, port_name, port_number, required,
};

pub(super) fn check_probes(container: &Value, at: &Path, role: Role, causes: &mut Vec<Cause>) {
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get(field).filter(|probe| !probe.is_null()) else { continue };
        let at = at.field(field);
        match role {
            Role::Init => {
                causes.push(forbidden(at, "may not be set for init containers without restartPolicy=Always"));
                continue;
            }
            Role::Ephemeral => {
                causes.push(forbidden(at, "cannot be set for an Ephemeral Container"));
                continue;
            }
            Role::Main | Role::Sidecar => {}
        }
        check_handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], &at, causes);
        for number in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
            causes.extend(non_negative(at.field(number), probe.get(number)));
        }
        if let Some(grace) = probe.get("terminationGracePeriodSeconds").filter(|grace| !grace.is_null()) {
            let at = at.field("terminationGracePeriodSeconds");
            if field == "readinessProbe" {
                causes.push(invalid(at, grace, "must not be set for readinessProbes"));
            } else if grace.as_i64().is_some_and(|grace| grace <= 0) {
                causes.push(invalid(at, grace, "must be greater than 0"));
            }
        }
        if field != "readinessProbe"
            && let Some(threshold) = probe.get("successThreshold").filter(|threshold| threshold.as_i64() != Some(1))
        {
            causes.push(invalid(at.field("successThreshold"), threshold, "must be 1"));
        }
    }
}

/// `grace` is the pod's `terminationGracePeriodSeconds`.
pub(super) fn check_lifecycle(container: &Value, at: &Path, role: Role, grace: Option<i64>, causes: &mut Vec<Cause>) {
    let Some(lifecycle) = container.get("lifecycle").filter(|lifecycle| !lifecycle.is_null()) else { return };
    let at = at.field("lifecycle");
    match role {
        Role::Init => causes.push(forbidden(at, "may not be set for init containers without restartPolicy=Always")),
        Role::Ephemeral => causes.push(forbidden(at, "cannot be set for an Ephemeral Container")),
        Role::Main | Role::Sidecar => {
            for hook in ["postStart", "preStop"] {
                if let Some(handler) = lifecycle.get(hook).filter(|handler| !handler.is_null()) {
                    let at = at.field(hook);
                    check_handler(handler, &["exec", "httpGet", "tcpSocket", "sleep"], &at, causes);
                    check_sleep(handler, &at.field("sleep"), grace, causes);
                }
            }
        }
    }
}

fn check_sleep(handler: &Value, at: &Path, grace: Option<i64>, causes: &mut Vec<Cause>) {
    let (Some(seconds), Some(grace)) = (int(handler, "/sleep/seconds"), grace) else { return };
    if !(0..=grace).contains(&seconds) {
        let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        causes.push(invalid(at, &seconds.into(), why));
    }
}

fn check_handler(handler: &Value, kinds: &[&str], at: &Path, causes: &mut Vec<Cause>) {
    let mut chosen = kinds.iter().filter(|kind| handler.get(**kind).is_some_and(|value| !value.is_null()));
    let Some(kind) = chosen.next() else {
        causes.push(required(at, "must specify a handler type"));
        return;
    };
    for more in chosen {
        causes.push(forbidden(at.field(more), "may not specify more than 1 handler type"));
    }
    let at = at.field(kind);
    let action = &handler[*kind];
    match *kind {
        "exec" if list(action, "/command").is_empty() => causes.push(required(at.field("command"), "")),
        "exec" => {}
        "httpGet" => {
            if text(action, "/path").is_empty() {
                causes.push(required(at.field("path"), ""));
            }
            check_port(action.get("port"), &at.field("port"), causes);
            causes.extend(one_of(at.field("scheme"), text(action, "/scheme"), &["HTTP", "HTTPS"]));
        }
        "sleep" => {}
        _ => check_port(action.get("port"), &at.field("port"), causes),
    }
}

fn check_port(port: Option<&Value>, at: &Path, causes: &mut Vec<Cause>) {
    match port {
        Some(Value::String(name)) => causes.extend(complaints(at, name, port_name(name))),
        Some(number) => {
            causes.extend(port_number(number.as_i64().unwrap_or(0)).into_iter().map(|detail| invalid(at, number, detail)));
        }
        None => causes.push(invalid_text(at, "0", "must be between 1 and 65535, inclusive")),
    }
}
