//! Whether the node has room for a pod. The scheduler has looked already; a pod that was bound by hand, or by a scheduler
//! that did not know better, is refused here.

use k8s_openapi::api::core::v1::Pod;

use super::sysctls;
use crate::node::capacity::Capacity;
use crate::node::room::{Room, Share};
use crate::pod::allocation;

/// The reason and message of a refusal. A pod that has begun before is never refused.
pub(crate) fn admit(pod: &Pod, room: &Room, capacity: &Capacity) -> Option<(String, String)> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let status = pod.status.as_ref();
    if matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")) {
        return None;
    }
    if status.is_some_and(|status| status.start_time.is_some()) || pod.metadata.deletion_timestamp.is_some() {
        room.note(uid, Share::of(&allocation::told(pod)));
        room.ports.note(uid, pod);
        return None;
    }
    if let Some(refusal) = sysctls::refuse(pod) {
        return Some(refusal);
    }
    if !room.ports.enter(uid, pod) {
        let why = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return Some(("NodePorts".to_owned(), format!("Pod was rejected: {why}")));
    }
    let lack = room.enter(uid, Share::of(pod), capacity).err()?;
    room.ports.leave(uid);
    Some((format!("OutOf{}", lack.name), format!("Pod was rejected: {lack}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_does_not_fit_beside_the_others_is_refused() {
        let room = Room::default();
        let capacity = Capacity { cpu_milli: 1000, memory: 1 << 30, pods: 3, storage: 0 };
        let admit = |uid: &str, cpu: &str, status: serde_json::Value| {
            let spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
            let pod = json!({"metadata": {"uid": uid}, "spec": spec, "status": status});
            super::admit(&serde_json::from_value(pod).expect("is a pod"), &room, &capacity)
        };
        assert_eq!(admit("over", "900m", json!({"phase": "Succeeded", "startTime": "2026-01-01T00:00:00Z"})), None);
        assert_eq!(admit("begun", "400m", json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z"})), None);
        let (reason, message) = admit("a", "601m", json!({})).expect("is refused");
        assert_eq!(reason, "OutOfcpu");
        assert!(message.ends_with("cpu, requested: 601, used: 400, capacity: 1000"), "{message}");
        assert_eq!(admit("b", "600m", json!({})), None);
        assert_eq!(admit("c", "0", json!({})), None);
        assert_eq!(admit("d", "0", json!({})).expect("is refused").0, "OutOfpods");
    }
}
