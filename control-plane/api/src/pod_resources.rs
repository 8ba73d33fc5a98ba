//! What a pod asks of its node, all containers together.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity::Quantity;

/// Amounts by resource name (`cpu`, `memory`, `ephemeral-storage`, `example.com/gpu`, …).
pub type Resources = BTreeMap<String, Quantity>;

/// What the scheduler must find room for: the sum over the containers and sidecars, or the most that an init container
/// needs while it runs beside the sidecars started before it, whichever is greater; plus the pod's overhead.
pub fn requests(spec: &Value) -> Resources {
    aggregate(spec, "requests")
}

/// The limits of the pod as a whole. A resource that some container leaves unlimited has no limit here.
pub fn limits(spec: &Value) -> Resources {
    let mut limits = aggregate(spec, "limits");
    let running = containers(spec, "containers").chain(containers(spec, "initContainers"));
    let pod_level = list(spec.get("resources"), "limits");
    for container in running {
        let own = list(container.get("resources"), "limits");
        limits.retain(|name, _| own.contains_key(name) || pod_level.contains_key(name));
    }
    limits
}

/// The limits as far as they are stated: a container without one adds nothing. What quotas and limit ranges count.
pub fn stated_limits(spec: &Value) -> Resources {
    aggregate(spec, "limits")
}

fn containers<'a>(spec: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    spec.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn list(resources: Option<&Value>, which: &str) -> Resources {
    let entries = resources.and_then(|resources| resources.get(which)).and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?))).collect()
}

/// A container's list; a request that is not stated is its limit.
fn of_container(container: &Value, which: &str) -> Resources {
    let resources = container.get("resources");
    let mut amounts = list(resources, which);
    if which == "requests" {
        for (name, limit) in list(resources, "limits") {
            amounts.entry(name).or_insert(limit);
        }
    }
    amounts
}

fn aggregate(spec: &Value, which: &str) -> Resources {
    let mut total = Resources::new();
    for container in containers(spec, "containers") {
        add(&mut total, &of_container(container, which));
    }
    let mut sidecars = Resources::new();
    let mut peak = Resources::new();
    for container in containers(spec, "initContainers") {
        let own = of_container(container, which);
        if container.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
            add(&mut sidecars, &own);
            add(&mut total, &own);
            at_least(&mut peak, &sidecars);
        } else {
            let mut while_running = sidecars.clone();
            add(&mut while_running, &own);
            at_least(&mut peak, &while_running);
        }
    }
    at_least(&mut total, &peak);
    // Pod-level resources stand for the containers' sum.
    for (name, amount) in list(spec.get("resources"), which) {
        total.insert(name, amount);
    }
    let overhead = list(Some(spec), "overhead");
    match which {
        "limits" => overhead.iter().for_each(|(name, amount)| {
            if let Some(limit) = total.get_mut(name) {
                *limit += *amount;
            }
        }),
        _ => add(&mut total, &overhead),
    }
    total
}

fn add(total: &mut Resources, more: &Resources) {
    for (name, amount) in more {
        *total.entry(name.clone()).or_default() += *amount;
    }
}

fn at_least(total: &mut Resources, floor: &Resources) {
    for (name, amount) in floor {
        let present = total.entry(name.clone()).or_default();
        *present = (*present).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(resources: Resources) -> Vec<String> {
        resources.iter().map(|(name, amount)| format!("{name}={amount}")).collect()
    }

    #[test]
    fn containers_add_up_and_init_containers_count_by_their_peak() {
        let spec = json!({
            "containers": [
                {"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1"}}},
                {"resources": {"limits": {"cpu": "200m"}}},
            ],
            "initContainers": [
                {"restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
                {"resources": {"requests": {"cpu": "2", "memory": "32Mi"}}},
            ],
            "overhead": {"memory": "6Mi"},
        });
        assert_eq!(shown(requests(&spec)), ["cpu=2050m", "memory=70Mi"]);
    }

    #[test]
    fn a_pod_is_limited_only_where_each_container_is() {
        let spec = json!({"containers": [
            {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}, {"resources": {"limits": {"cpu": "500m"}}},
        ]});
        assert_eq!(shown(limits(&spec)), ["cpu=1500m"]);
        assert!(limits(&json!({"containers": [{}]})).is_empty());
    }
}
