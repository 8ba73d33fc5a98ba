//! NodeName: a pod that names its node goes nowhere else.

use crate::framework::{Candidates, ClusterEvent, Plugin, PluginState, Point, Points, Rejection};
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(super) struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Filter])
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded]
    }

    fn filter(&self, pod: &PodInfo, _snapshot: &Snapshot, candidates: &mut Candidates<'_>, _state: &mut PluginState) {
        if !pod.node.is_empty() {
            let why = "node(s) didn't match the requested node name";
            candidates.check(|node| if node.name == pod.node { Ok(()) } else { Err(Rejection::unresolvable(why)) });
        }
    }
}
