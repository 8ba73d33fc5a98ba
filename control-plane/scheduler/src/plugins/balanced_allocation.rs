//! NodeResourcesBalancedAllocation: prefers nodes where CPU and memory end up equally full.

use std::sync::Arc;

use crate::framework::{MAX_SCORE, Plugin, PluginState, Point, Points};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(super) struct BalancedAllocation;

/// The used share in thousandths.
fn share(capacity: i64, taken: i64) -> i64 {
    if capacity > 0 { (taken.saturating_mul(1000) / capacity).clamp(0, 1000) } else { 1000 }
}

fn score(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let cpu = share(node.allocatable.milli_cpu, node.requested.milli_cpu.saturating_add(pod.requests.milli_cpu));
    let memory = share(node.allocatable.memory, node.requested.memory.saturating_add(pod.requests.memory));
    // With two resources the standard deviation is half their distance.
    (1000 - (cpu - memory).abs() / 2) * MAX_SCORE / 1000
}

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Score])
    }

    fn score(&self, pod: &PodInfo, _snapshot: &Snapshot, nodes: &[Arc<NodeInfo>], _state: &mut PluginState) -> Option<Vec<i64>> {
        // A pod that asks for nothing balances nothing.
        let asks = pod.requests.milli_cpu > 0 || pod.requests.memory > 0;
        asks.then(|| nodes.iter().map(|node| score(pod, node)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Amounts;

    #[test]
    fn the_more_even_the_better() {
        let amounts = |milli_cpu, memory| Amounts { milli_cpu, memory, ..Amounts::default() };
        let node = NodeInfo { allocatable: amounts(1000, 1000), ..NodeInfo::default() };
        let of = |cpu, memory| score(&PodInfo { requests: amounts(cpu, memory), ..PodInfo::default() }, &node);
        assert_eq!([of(500, 500), of(500, 0), of(1000, 0)], [100, 75, 50]);
    }
}
