//! The taints a node's conditions and its being cordoned call for.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::decide::{condition, ready};
use crate::time::whole_seconds;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Somebody has said that the node will not come back as it was, and it does not say otherwise (KEP-2268).
pub(crate) fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    ready(node) != "True" && taints.into_iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

fn is_managed(taint: &Taint) -> bool {
    let key = taint.key.as_str();
    match taint.effect.as_str() {
        "NoSchedule" => {
            [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&key) || PRESSURES.iter().any(|(_, pressure)| *pressure == key)
        }
        "NoExecute" => [NOT_READY, UNREACHABLE].contains(&key),
        _ => false,
    }
}

/// All taints the node should have: those of others as they are, and its own as its state calls for. While no node
/// at all is ready (`all_lost`), none drives its pods out: the fault is then more likely the control plane's, and the
/// pods would have nowhere to go.
pub(super) fn wanted(node: &Node, all_lost: bool, now: Timestamp) -> Vec<Taint> {
    let present = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let mut called_for: Vec<(&str, &str)> = match ready(node) {
        "True" => Vec::new(),
        "Unknown" => vec![(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")],
        _ => vec![(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")],
    };
    if all_lost {
        called_for.retain(|(_, effect)| *effect != "NoExecute");
    }
    let pressed = |(kind, key)| condition(node, kind).filter(|condition| condition.status == "True").map(|_| (key, "NoSchedule"));
    called_for.extend(PRESSURES.into_iter().filter_map(pressed));
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        called_for.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let same = |taint: &Taint, (key, effect): (&str, &str)| taint.key == key && taint.effect == effect;
    let stays = |taint: &&Taint| !is_managed(taint) || called_for.iter().any(|called| same(taint, *called));
    let mut taints: Vec<Taint> = present.iter().filter(stays).cloned().collect();
    for (key, effect) in called_for {
        if !taints.iter().any(|taint| same(taint, (key, effect))) {
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                value: None,
                time_added: Some(Time(whole_seconds(now))),
            });
        }
    }
    taints
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn taints_follow_the_conditions_and_those_of_others_stay() {
        let now = Timestamp::from_second(100).expect("in range");
        let keys_of = |ready: &str, unschedulable: bool, taints: serde_json::Value, all_lost: bool| {
            let node = json!({
                "spec": {"unschedulable": unschedulable, "taints": taints},
                "status": {"conditions": [{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": "False"}]},
            });
            let taints = wanted(&serde_json::from_value(node).expect("is a node"), all_lost, now);
            taints
                .into_iter()
                .map(|taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect))
                .collect::<Vec<_>>()
        };
        let keys = |ready: &str, unschedulable, taints| keys_of(ready, unschedulable, taints, false);
        let others = json!([{"key": "gpu", "effect": "NoSchedule"}, {"key": NOT_READY, "effect": "NoExecute"}]);
        assert_eq!(keys("True", false, others.clone()), ["gpu:NoSchedule"]);
        assert_eq!(keys("False", false, others.clone()), ["gpu:NoSchedule", "not-ready:NoExecute", "not-ready:NoSchedule"]);
        assert_eq!(keys("Unknown", false, others), ["gpu:NoSchedule", "unreachable:NoSchedule", "unreachable:NoExecute"]);
        assert_eq!(keys("True", true, json!([])), ["unschedulable:NoSchedule"]);
        let evicting = json!([{"key": UNREACHABLE, "effect": "NoExecute"}]);
        assert_eq!(keys_of("Unknown", false, evicting, true), ["unreachable:NoSchedule"], "no node is left");
    }

    #[test]
    fn a_node_is_out_of_service_when_somebody_says_so_and_it_does_not_answer() {
        let node = |ready: &str, key: &str| {
            let conditions = json!([{"type": "Ready", "status": ready}]);
            let taints = json!([{"key": key, "value": "nodeshutdown", "effect": "NoExecute"}]);
            serde_json::from_value(json!({"spec": {"taints": taints}, "status": {"conditions": conditions}})).expect("is a node")
        };
        assert!(is_out_of_service(&node("Unknown", OUT_OF_SERVICE)));
        assert!(!is_out_of_service(&node("True", OUT_OF_SERVICE)));
        assert!(!is_out_of_service(&node("Unknown", UNREACHABLE)));
    }
}
