//! NodeName: a pod that names its node goes nowhere else.

use crate::framework::{Candidates, ClusterEvent, CycleState, Plugin, Rejection};
use crate::pod::PodInfo;

pub(super) struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded]
    }

    fn filter(&self, pod: &PodInfo, candidates: &mut Candidates<'_>, _state: &CycleState) {
        if !pod.node.is_empty() {
            let why = "node(s) didn't match the requested node name";
            candidates.check(|node| if node.name == pod.node { Ok(()) } else { Err(Rejection::unresolvable(why)) });
        }
    }
}
