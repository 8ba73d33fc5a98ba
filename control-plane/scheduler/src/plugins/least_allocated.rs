//! LeastAllocated: prefers nodes with much free CPU and memory (the default scoring of NodeResourcesFit).

use crate::framework::MAX_SCORE;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

fn free(capacity: i64, taken: i64) -> Option<i64> {
    (capacity > 0).then(|| (capacity.saturating_sub(taken).max(0)).saturating_mul(MAX_SCORE) / capacity)
}

/// The mean of the free shares once the pod is there.
pub(super) fn score(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let cpu = free(node.allocatable.milli_cpu, node.scoring.0.saturating_add(pod.scoring.0));
    let memory = free(node.allocatable.memory, node.scoring.1.saturating_add(pod.scoring.1));
    match (cpu, memory) {
        (Some(cpu), Some(memory)) => i64::midpoint(cpu, memory),
        (one, other) => one.or(other).unwrap_or(0),
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
