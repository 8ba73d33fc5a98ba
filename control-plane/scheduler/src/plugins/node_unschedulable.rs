//! NodeUnschedulable: a cordoned node takes only pods that tolerate it.

use k8s_openapi::api::core::v1::Taint;

use super::taint_toleration::tolerates;
use crate::framework::{Candidates, ClusterEvent, CycleState, Plugin, Rejection};
use crate::pod::PodInfo;

pub(super) struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::NodeChanged]
    }

    fn filter(&self, pod: &PodInfo, candidates: &mut Candidates<'_>, _state: &CycleState) {
        let taint = Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
        let tolerated = tolerates(&pod.tolerations, &taint);
        candidates.check(|node| {
            if node.unschedulable && !tolerated { Err(Rejection::unresolvable("node(s) were unschedulable")) } else { Ok(()) }
        });
    }
}
