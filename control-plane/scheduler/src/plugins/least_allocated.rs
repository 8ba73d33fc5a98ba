//! LeastAllocated: prefers nodes with much free CPU and memory (the default scoring of NodeResourcesFit).

use std::sync::Arc;

use crate::framework::{CycleState, MAX_SCORE, Plugin};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub(super) struct LeastAllocated;

fn free(capacity: i64, taken: i64) -> Option<i64> {
    (capacity > 0).then(|| (capacity.saturating_sub(taken).max(0)).saturating_mul(MAX_SCORE) / capacity)
}

fn score(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let cpu = free(node.allocatable.milli_cpu, node.scoring.0.saturating_add(pod.scoring.0));
    let memory = free(node.allocatable.memory, node.scoring.1.saturating_add(pod.scoring.1));
    let known: Vec<i64> = cpu.into_iter().chain(memory).collect();
    known.iter().sum::<i64>() / i64::try_from(known.len()).unwrap_or(1).max(1)
}

impl Plugin for LeastAllocated {
    fn name(&self) -> &'static str {
        "NodeResourcesFit/LeastAllocated"
    }

    fn score(&self, pod: &PodInfo, nodes: &[Arc<NodeInfo>], _state: &CycleState) -> Option<Vec<i64>> {
        Some(nodes.iter().map(|node| score(pod, node)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Amounts;

    #[test]
    fn the_score_is_the_mean_free_share_after_the_pod() {
        let node = NodeInfo {
            allocatable: Amounts { milli_cpu: 1000, memory: 1000, ..Amounts::default() },
            scoring: (500, 0),
            ..NodeInfo::default()
        };
        let pod = |cpu, memory| PodInfo { scoring: (cpu, memory), ..PodInfo::default() };
        assert_eq!(score(&pod(0, 0), &node), 75);
        assert_eq!(score(&pod(500, 500), &node), 25);
        assert_eq!(score(&pod(5000, 5000), &node), 0);
    }
}
