//! Whether the node has room for a pod. The scheduler has looked already; a pod that was bound by hand, or by a scheduler
//! that did not know better, is refused here.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use mizzen_api::pod_resources;
use mizzen_api::quantity::Quantity;

use super::sysctls;
use crate::node::capacity::Capacity;

/// The reason and message of a refusal. A pod that has begun before is never refused.
pub(crate) fn admit(pod: &Pod, others: &[Arc<Pod>], capacity: &Capacity) -> Option<(String, String)> {
    if pod.status.as_ref().is_some_and(|status| status.start_time.is_some()) || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    if let Some(refusal) = sysctls::refuse(pod) {
        return Some(refusal);
    }
    let is_final =
        |pod: &Pod| matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"));
    let active: Vec<_> = others.iter().filter(|other| !is_final(other)).collect();
    let wanted = requests(pod);
    let used: Vec<(i64, i64)> = active.iter().map(|other| requests(other)).collect();
    let (used_cpu, used_memory) = used.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let used_pods = i64::try_from(active.len()).unwrap_or(i64::MAX);
    let checks = [
        ("pods", 1, used_pods, capacity.pods),
        ("cpu", wanted.0, used_cpu, capacity.cpu_milli),
        ("memory", wanted.1, used_memory, capacity.memory),
    ];
    let (name, requested, used, capacity) =
        checks.into_iter().find(|(_, wanted, used, has)| *wanted > 0 && wanted.saturating_add(*used) > *has)?;
    let message = format!(
        "Pod was rejected: Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
    );
    Some((format!("OutOf{name}"), message))
}

/// Millicores and bytes.
fn requests(pod: &Pod) -> (i64, i64) {
    let requests = pod_resources::requests(&serde_json::to_value(&pod.spec).unwrap_or_default());
    let of = |name: &str, value: fn(Quantity) -> i64| requests.get(name).copied().map_or(0, value);
    (of("cpu", Quantity::milli_value), of("memory", Quantity::value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_does_not_fit_beside_the_others_is_refused() {
        let pod = |cpu: &str, phase: &str| -> Arc<Pod> {
            let spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
            Arc::new(serde_json::from_value(json!({"spec": spec, "status": {"phase": phase}})).expect("is a pod"))
        };
        let capacity = Capacity { cpu_milli: 1000, memory: 1 << 30, pods: 3, storage: 0 };
        assert_eq!(admit(&pod("600m", ""), &[pod("400m", "Running")], &capacity), None);
        let (reason, message) = admit(&pod("601m", ""), &[pod("400m", "Running")], &capacity).expect("is refused");
        assert_eq!(reason, "OutOfcpu");
        assert!(message.ends_with("cpu, requested: 601, used: 400, capacity: 1000"), "{message}");
        assert_eq!(admit(&pod("1", ""), &[pod("400m", "Succeeded")], &capacity), None);
        let three = [pod("0", ""), pod("0", ""), pod("0", "")];
        assert_eq!(admit(&pod("0", ""), &three, &capacity).expect("is refused").0, "OutOfpods");
    }
}
