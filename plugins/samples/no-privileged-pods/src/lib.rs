//! No container runs privileged or asks to become more than it was, and no pod enters the node's namespaces.
//!
//! One that leaves `allowPrivilegeEscalation` out is let through, although that means true.

use mizzen_policy_sdk::{Decision, Request, Value, policy};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    /// Namespaces where everything is allowed.
    exempt_namespaces: Vec<String>,
}

fn review(request: &Request, settings: &Settings) -> Decision {
    if settings.exempt_namespaces.iter().any(|namespace| namespace == request.namespace()) {
        return Decision::Allow;
    }
    let is_true = |value: Option<&Value>| value == Some(&Value::Bool(true));
    let shares = ["hostPID", "hostIPC", "hostNetwork"].into_iter().find(|field| is_true(request.pod_spec().get(field)));
    if let Some(field) = shares {
        return Decision::deny(format!("{field} is not allowed"));
    }
    for (_, container) in request.containers() {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        let context = container.get("securityContext");
        for field in ["privileged", "allowPrivilegeEscalation"] {
            if is_true(context.and_then(|context| context.get(field))) {
                return Decision::deny(format!("container {name:?}: {field} is not allowed"));
            }
        }
    }
    Decision::Allow
}

policy!(review);
