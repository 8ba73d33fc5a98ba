//! Requests and limits as cgroup values, computed as the kubelet does.

use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_api::pod_resources;
use mizzen_api::qos::{Qos, qos_class};
use mizzen_api::quantity::Quantity;
use mizzen_runtime::Resources;
use serde_json::{Map, Value};

/// Microseconds.
pub(crate) const CPU_PERIOD: u64 = 100_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
const MIN_QUOTA: i64 = 1000;

pub(crate) fn qos(pod: &Pod) -> Qos {
    qos_class(&serde_json::to_value(&pod.spec).unwrap_or_default())
}

/// 1024 for a CPU, between 2 and 262144.
pub(crate) fn shares(milli_cpu: i64) -> u64 {
    let shares = milli_cpu.saturating_mul(1024) / 1000;
    u64::try_from(shares.clamp(MIN_SHARES, MAX_SHARES)).unwrap_or(2)
}

/// Microseconds in each period; no less than one millisecond.
pub(crate) fn quota(milli_cpu: i64) -> i64 {
    (milli_cpu.saturating_mul(100_000) / 1000).max(MIN_QUOTA)
}

/// The amounts that a resize may change, as JSON: equal texts are equal amounts.
pub(crate) fn amounts(container: &Container) -> String {
    let resources = container.resources.as_ref();
    let lists =
        [("limits", resources.and_then(|r| r.limits.as_ref())), ("requests", resources.and_then(|r| r.requests.as_ref()))];
    let lists = lists.into_iter().filter_map(|(name, list)| {
        let cpu_and_memory = list?.iter().filter(|(name, _)| ["cpu", "memory"].contains(&name.as_str()));
        let amounts: Map<String, Value> = cpu_and_memory
            .map(|(name, amount)| {
                let text = amount.0.parse::<Quantity>().map_or_else(|_| amount.0.clone(), |quantity| quantity.to_string());
                (name.clone(), Value::String(text))
            })
            .collect();
        (!amounts.is_empty()).then(|| (name.to_owned(), Value::Object(amounts)))
    });
    Value::Object(lists.collect()).to_string()
}

/// Whether what differs between two [`amounts`] can only change with a restart of the container (`resizePolicy`).
pub(crate) fn restarts(container: &Container, before: &str, now: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (before, now) = (parse(before), parse(now));
    let policies = container.resize_policy.iter().flatten().filter(|policy| policy.restart_policy == "RestartContainer");
    policies.map(|policy| policy.resource_name.as_str()).any(|name| {
        let of = |amounts: &Value, list: &str| amounts.get(list).and_then(|list| list.get(name)).cloned();
        ["requests", "limits"].iter().any(|list| of(&before, list) != of(&now, list))
    })
}

/// What the container's own cgroup gets. `node_memory` in bytes.
pub(crate) fn of_container(container: &Container, qos: Qos, node_memory: i64) -> Resources {
    let resources = container.resources.as_ref();
    let amount = |limits: bool, name: &str| -> Option<Quantity> {
        let list = resources.and_then(|r| if limits { r.limits.as_ref() } else { r.requests.as_ref() })?;
        list.get(name)?.0.parse().ok()
    };
    let cpu_limit = amount(true, "cpu").map(Quantity::milli_value).filter(|milli| *milli > 0);
    let cpu_request = amount(false, "cpu").map(Quantity::milli_value).or(cpu_limit).unwrap_or(0);
    let memory_limit = amount(true, "memory").map(Quantity::value).filter(|bytes| *bytes > 0);
    let memory_request = amount(false, "memory").map(Quantity::value).or(memory_limit).unwrap_or(0);
    Resources {
        cpu_shares: Some(shares(cpu_request)),
        cpu_quota: cpu_limit.map(quota),
        cpu_period: cpu_limit.map(|_| CPU_PERIOD),
        memory_limit,
        pids_limit: None,
        oom_score_adj: Some(oom_score_adj(qos, memory_request, node_memory)),
    }
}

/// The more of the node's memory a burstable container asks for, the later it is killed.
pub(crate) fn oom_score_adj(qos: Qos, memory_request: i64, node_memory: i64) -> i32 {
    match qos {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let share = i128::from(memory_request) * 1000 / i128::from(node_memory.max(1));
            i32::try_from((1000 - share).clamp(3, 999)).unwrap_or(999)
        }
    }
}

/// What the pod's cgroup gets.
pub(crate) fn of_pod(pod: &Pod) -> Resources {
    let spec = serde_json::to_value(&pod.spec).unwrap_or_default();
    let (requests, limits) = (pod_resources::requests(&spec), pod_resources::limits(&spec));
    let cpu_limit = limits.get("cpu").copied().map(Quantity::milli_value).filter(|milli| *milli > 0);
    Resources {
        cpu_shares: Some(shares(requests.get("cpu").copied().map_or(0, Quantity::milli_value))),
        cpu_quota: cpu_limit.map(quota),
        cpu_period: cpu_limit.map(|_| CPU_PERIOD),
        memory_limit: limits.get("memory").copied().map(Quantity::value).filter(|bytes| *bytes > 0),
        ..Resources::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(resources: serde_json::Value) -> Container {
        serde_json::from_value(json!({"name": "c", "resources": resources})).expect("is a container")
    }

    #[test]
    fn cpu_and_memory_become_shares_quota_and_bytes() {
        let full =
            container(json!({"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}}));
        let resources = of_container(&full, Qos::Burstable, 1 << 30);
        assert_eq!(resources.cpu_shares, Some(256));
        assert_eq!((resources.cpu_quota, resources.cpu_period), (Some(50_000), Some(100_000)));
        assert_eq!(resources.memory_limit, Some(128 << 20));
        assert_eq!(resources.oom_score_adj, Some(938));

        let none = of_container(&container(json!({})), Qos::BestEffort, 1 << 30);
        assert_eq!((none.cpu_shares, none.cpu_quota, none.memory_limit, none.oom_score_adj), (Some(2), None, None, Some(1000)));

        let limit_only = of_container(&container(json!({"limits": {"cpu": "2"}})), Qos::Burstable, 1 << 30);
        assert_eq!((limit_only.cpu_shares, limit_only.cpu_quota), (Some(2048), Some(200_000)));
    }

    #[test]
    fn amounts_that_are_equal_read_equal() {
        let one = container(json!({"requests": {"cpu": "1000m", "memory": "64Mi", "ephemeral-storage": "1"}, "limits": {}}));
        let other = container(json!({"requests": {"memory": "65536Ki", "cpu": "1"}}));
        assert_eq!(amounts(&one), amounts(&other));
        assert_eq!(amounts(&container(json!({}))), "{}");
        assert_ne!(amounts(&one), amounts(&container(json!({"limits": {"cpu": "1", "memory": "64Mi"}}))));
    }

    #[test]
    fn tiny_and_huge_amounts_stay_in_what_the_kernel_takes() {
        assert_eq!((shares(0), shares(1), shares(i64::MAX)), (2, 2, 262_144));
        assert_eq!(quota(1), 1000);
        assert_eq!(oom_score_adj(Qos::Burstable, i64::MAX, 1), 3);
        assert_eq!(oom_score_adj(Qos::Burstable, 0, 1 << 30), 999);
        assert_eq!(oom_score_adj(Qos::Guaranteed, 0, 0), -997);
    }
}
