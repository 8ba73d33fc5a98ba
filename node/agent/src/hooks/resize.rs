//! Gives a container that runs other amounts of CPU and memory: its cgroup and the pod's are bounded anew.

use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_runtime::{ContainerStatus, Resources};

use crate::cgroups::{self, CgroupError};
use crate::node::capacity::Capacity;
use crate::pod::labels;
use crate::pod::view::Resized;
use crate::shared::Shared;
use crate::spec::resources;

pub(crate) async fn resize(shared: &Shared, pod: &Pod, container: &Container, running: &ContainerStatus) -> Resized {
    if let Some(why) = refusal(container, running, &shared.capacity) {
        return Resized::Infeasible(why);
    }
    let qos = resources::qos(pod);
    let path = cgroups::pod_path(&shared.cluster, qos, labels::pod_uid(running));
    let (whole, own) = (resources::of_pod(pod), resources::of_container(container, qos, shared.capacity.memory));
    let id = running.id.clone();
    let bounded = tokio::task::spawn_blocking(move || bound(&path, &whole, &id, &own)).await;
    match bounded {
        Ok(Ok(())) => Resized::Done,
        Ok(Err(error)) => Resized::Failed(error.to_string()),
        Err(error) => Resized::Failed(error.to_string()),
    }
}

/// A cgroup has no more than the one around it: to grow, the pod's goes first; to shrink, the container's.
fn bound(pod: &str, whole: &Resources, id: &str, own: &Resources) -> Result<(), CgroupError> {
    let grown = cgroups::ensure(pod, whole);
    cgroups::ensure(&format!("{pod}/{id}"), own)?;
    grown.or_else(|_| cgroups::ensure(pod, whole))
}

/// Why this node cannot do it.
fn refusal(container: &Container, running: &ContainerStatus, capacity: &Capacity) -> Option<String> {
    if labels::is_wasm(running) {
        return Some("resize of Wasm containers is not supported by this node".to_owned());
    }
    let amounts = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    let (before, now) = (amounts(labels::get(&running.labels, labels::AMOUNTS)), amounts(&resources::amounts(container)));
    for (name, capacity) in [("cpu", capacity.cpu_milli), ("memory", capacity.memory)] {
        let of = |amounts: &serde_json::Value, list: &str| amounts.pointer(&format!("/{list}/{name}")).cloned();
        let changes = ["requests", "limits"].iter().any(|list| of(&before, list) != of(&now, list));
        let restarts = container
            .resize_policy
            .iter()
            .flatten()
            .any(|policy| policy.resource_name == name && policy.restart_policy == "RestartContainer");
        if changes && restarts {
            return Some(format!("resize of {name} with a restart (resizePolicy) is not supported by this node"));
        }
        let request = of(&now, "requests").and_then(|amount| mizzen_api::quantity::Quantity::from_value(&amount).ok());
        let asked = request.map_or(0, |amount| if name == "cpu" { amount.milli_value() } else { amount.value() });
        if asked > capacity {
            return Some(format!("Node didn't have enough capacity: {name}, requested: {asked}, capacity: {capacity}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mizzen_runtime::ContainerState;
    use serde_json::json;

    use super::*;

    fn told(container: serde_json::Value, kind: &str) -> Option<String> {
        let before = serde_json::from_value(json!({"name": "c", "resources": {"requests": {"cpu": "1"}}})).expect("a container");
        let container: Container = serde_json::from_value(container).expect("a container");
        let labels = BTreeMap::from([
            (labels::AMOUNTS.to_owned(), resources::amounts(&before)),
            (labels::RUNTIME.to_owned(), kind.to_owned()),
        ]);
        let state = ContainerState::Running { started_at: String::new(), pid: None };
        let running = ContainerStatus { id: "c-0".into(), labels, state };
        refusal(&container, &running, &Capacity { cpu_milli: 2000, memory: 1 << 30, pods: 1, storage: 1 })
    }

    #[test]
    fn what_this_node_cannot_do_is_said() {
        let asks = |cpu: &str| {
            json!({"name": "c", "resources": {"requests": {"cpu": cpu}},
            "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]})
        };
        assert_eq!(told(asks("2"), "container"), None, "another resource's policy does not matter");
        assert_eq!(told(asks("2"), "wasm").as_deref(), Some("resize of Wasm containers is not supported by this node"));
        let why = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
        assert_eq!(told(asks("3"), "container").as_deref(), Some(why));
        let mut restarts = asks("2");
        restarts["resizePolicy"][0]["resourceName"] = json!("cpu");
        assert!(told(restarts, "container").is_some_and(|why| why.contains("resizePolicy")));
    }
}
