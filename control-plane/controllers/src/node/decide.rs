//! Whether a node is alive, by its signs of life. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use serde_json::{Value, json};

use crate::time::whole_seconds;

/// A node that gave no sign of life for so long counts as silent.
const GRACE: SignedDuration = SignedDuration::from_secs(40);
/// The same for a node that never reported: it may still be starting.
const STARTUP: SignedDuration = SignedDuration::from_secs(60);
/// A node says itself how long its lease lasts. Thousands of simulated ones renew theirs seldom; nobody is dead for longer than
/// this without anybody noticing.
const LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// Conditions that are unknown when the node is silent.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Reporting,
    Silent,
}

pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// `True`, `False` or `Unknown`; a node without the condition is not ready.
pub(super) fn ready(node: &Node) -> &str {
    condition(node, "Ready").map_or("False", |condition| condition.status.as_str())
}

pub(super) fn heartbeat(node: &Node) -> Option<Timestamp> {
    condition(node, "Ready")?.last_heartbeat_time.as_ref().map(|time| time.0)
}

/// How long a node may give no sign of life: also as long as its lease says that it lasts, within bounds.
pub(super) fn grace(node: &Node, lease: SignedDuration) -> SignedDuration {
    let least = if condition(node, "Ready").is_some() { GRACE } else { STARTUP };
    least.max(lease.min(LONGEST))
}

pub(super) fn health(grace: SignedDuration, silent_for: SignedDuration) -> Health {
    if silent_for > grace { Health::Silent } else { Health::Reporting }
}

/// The conditions to write for a silent node; `None` when they stand already.
pub(super) fn silenced(node: &Node, now: Timestamp) -> Option<Value> {
    let now = whole_seconds(now).to_string();
    let unknown = |kind: &str| {
        let present = condition(node, kind);
        if present.is_some_and(|condition| condition.status == "Unknown") {
            return None;
        }
        let (reason, message) = match present {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        let mut condition =
            json!({"type": kind, "status": "Unknown", "reason": reason, "message": message, "lastTransitionTime": now});
        if let Some(heartbeat) = present.and_then(|condition| condition.last_heartbeat_time.as_ref()) {
            condition["lastHeartbeatTime"] = json!(heartbeat);
        }
        Some(condition)
    };
    let conditions: Vec<_> = REPORTED.into_iter().filter_map(unknown).collect();
    (!conditions.is_empty()).then_some(Value::Array(conditions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(conditions: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": conditions}})).expect("is a node")
    }

    #[test]
    fn a_node_is_silent_after_its_grace_and_a_new_one_after_a_longer_one() {
        let known = node(json!([{"type": "Ready", "status": "True"}]));
        let new = node(json!([]));
        let seconds = SignedDuration::from_secs;
        for (node, lease, silent_for, expected) in [
            (&known, 0, 40, Health::Reporting),
            (&known, 40, 41, Health::Silent),
            (&known, 240, 240, Health::Reporting),
            (&known, 240, 241, Health::Silent),
            (&new, 40, 60, Health::Reporting),
            (&new, 40, 61, Health::Silent),
        ] {
            assert_eq!(health(grace(node, seconds(lease)), seconds(silent_for)), expected, "{lease} {silent_for}");
        }
    }

    #[test]
    fn a_silent_node_has_unknown_conditions_which_are_written_once() {
        let now = Timestamp::from_second(1000).expect("in range");
        let before = node(json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": "1970-01-01T00:10:00Z"}]));
        let written = silenced(&before, now).expect("has to change");
        assert_eq!(written[0]["reason"], "NodeStatusUnknown");
        assert_eq!(written[0]["lastHeartbeatTime"], "1970-01-01T00:10:00Z");
        assert_eq!(written[1]["reason"], "NodeStatusNeverUpdated");
        assert_eq!(silenced(&node(written), now), None);
    }
}
