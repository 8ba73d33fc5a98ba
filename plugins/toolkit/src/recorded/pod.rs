//! A pod as a scheduler plugin is told of it.

use mizzen_api::pod_resources::{self, Resources};
use mizzen_plugins_host::scheduler::{Pod, Toleration};
use serde_json::{Value, json};

use super::{pairs, text};

pub(crate) fn pod(cycle: u64, object: &Value) -> Pod {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    let owner = owners.filter(|owner| owner["controller"] == true).map(|owner| text(owner, "/uid")).next();
    let tolerations = spec.get("tolerations").and_then(Value::as_array).into_iter().flatten();
    let toleration = |it: &Value| Toleration {
        key: text(it, "/key").to_owned(),
        operator: it.get("operator").and_then(Value::as_str).unwrap_or("Equal").to_owned(),
        value: text(it, "/value").to_owned(),
        effect: text(it, "/effect").to_owned(),
    };
    let uid = text(object, "/metadata/uid");
    Pod {
        cycle,
        uid: if uid.is_empty() { format!("uid-of-{}", text(object, "/metadata/name")) } else { uid.to_owned() },
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
        labels: pairs(object, "/metadata/labels"),
        annotations: pairs(object, "/metadata/annotations"),
        priority: spec.get("priority").and_then(Value::as_i64).and_then(|it| i32::try_from(it).ok()).unwrap_or(0),
        requests: amounts(pod_resources::requests(spec)),
        scoring: amounts(scoring(spec)),
        node_selector: pairs(object, "/spec/nodeSelector"),
        tolerations: tolerations.map(toleration).collect(),
        affinity: spec.get("affinity").map(Value::to_string),
        owner: owner.unwrap_or_default().to_owned(),
    }
}

/// Requests with Kubernetes' defaults for containers that state none: 100m of cpu and 200 MiB of memory.
pub(super) fn scoring(spec: &Value) -> Resources {
    let mut spec = spec.clone();
    let containers = spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten();
    for container in containers {
        for (name, amount) in [("cpu", "100m"), ("memory", "200Mi")] {
            let stated = |list: &str| container.pointer(&format!("/resources/{list}/{name}")).is_some();
            if stated("requests") || stated("limits") || !container.is_object() {
                continue;
            }
            if !container["resources"]["requests"].is_object() {
                container["resources"]["requests"] = json!({});
            }
            container["resources"]["requests"][name] = amount.into();
        }
    }
    let mut amounts = pod_resources::requests(&spec);
    amounts.retain(|name, _| matches!(name.as_str(), "cpu" | "memory"));
    amounts
}

/// Cpu in millicores, everything else in its unit.
pub(super) fn amounts(resources: Resources) -> Vec<(String, i64)> {
    let amount = |(name, quantity): (String, mizzen_api::quantity::Quantity)| {
        let amount = if name == "cpu" { quantity.milli_value() } else { quantity.value() };
        (name, amount)
    };
    resources.into_iter().map(amount).collect()
}
