//! NodeUnschedulable: a cordoned node takes only pods that tolerate it.

use k8s_openapi::api::core::v1::Taint;

use super::taint_toleration::tolerates;
use crate::framework::{Candidates, ClusterEvent, Plugin, PluginState, Point, Points, Rejection};
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(super) struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Filter])
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::NodeChanged]
    }

    fn filter(&self, pod: &PodInfo, snapshot: &Snapshot, candidates: &mut Candidates<'_>, _state: &mut PluginState) {
        if !snapshot.has_unschedulable() {
            return;
        }
        let taint = Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
        let tolerated = tolerates(&pod.tolerations, &taint);
        candidates.check(|node| {
            if node.unschedulable && !tolerated { Err(Rejection::unresolvable("node(s) were unschedulable")) } else { Ok(()) }
        });
    }
}
