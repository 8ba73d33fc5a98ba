//! NodeResourcesBalancedAllocation: prefers nodes where CPU and memory, or the resources that its arguments name, end up equally full.

use std::sync::Arc;

use serde::Deserialize;

use super::allocation::{Resource, ResourceSpec};
use crate::framework::{MAX_SCORE, Plugin, PluginState, Point, Points};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

/// `NodeResourcesBalancedAllocationArgs`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Args {
    resources: Vec<ResourceSpec>,
}

pub(super) struct BalancedAllocation {
    resources: Vec<Resource>,
}

impl Default for BalancedAllocation {
    fn default() -> Self {
        Self { resources: vec![Resource::Cpu, Resource::Memory] }
    }
}

impl BalancedAllocation {
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) fn new(args: &Args) -> Result<Self, String> {
        // As Kubernetes has it.
        if let Some(spec) = args.resources.iter().find(|spec| spec.weight != 1) {
            return Err(format!("resources: the weight of {} can only be 1", spec.name));
        }
        let resources: Vec<Resource> = args.resources.iter().map(|spec| Resource::named(&spec.name)).collect();
        Ok(if resources.is_empty() { Self::default() } else { Self { resources } })
    }

    fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let (mut count, mut sum, mut squares) = (0, 0, 0_i64);
        for (capacity, taken) in self.resources.iter().filter_map(|resource| resource.requested(pod, node)) {
            // The share that is taken, in thousandths.
            let share = (taken.saturating_mul(1000) / capacity).clamp(0, 1000);
            (count, sum, squares) = (count + 1, sum + share, squares + share * share);
        }
        // The standard deviation; with two resources half their distance.
        let deviation = if count == 0 { 0 } else { (count * squares - sum * sum).isqrt() / count };
        (1000 - deviation) * MAX_SCORE / 1000
    }
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
        let asks = self.resources.iter().any(|resource| resource.of(&pod.requests) > 0);
        asks.then(|| nodes.iter().map(|node| self.score(pod, node)).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::resources::Amounts;

    fn amounts(milli_cpu: i64, memory: i64, gpus: i64) -> Amounts {
        let others = [("example.com/gpu".to_owned(), gpus)].into_iter().filter(|(_, n)| *n > 0).collect();
        Amounts { milli_cpu, memory, others, ..Amounts::default() }
    }

    fn told(args: Value) -> Result<BalancedAllocation, String> {
        BalancedAllocation::new(&serde_json::from_value(args).expect("has its fields"))
    }

    #[test]
    fn the_more_even_the_better() {
        let node = NodeInfo { allocatable: amounts(1000, 1000, 0), ..NodeInfo::default() };
        let plugin = BalancedAllocation::default();
        let of = |cpu, memory| plugin.score(&PodInfo { requests: amounts(cpu, memory, 0), ..PodInfo::default() }, &node);
        assert_eq!([of(500, 500), of(500, 0), of(1000, 0)], [100, 75, 50]);
    }

    #[test]
    fn other_resources_count_where_they_are_named_and_asked_for() {
        let node = NodeInfo { allocatable: amounts(1000, 1000, 4), ..NodeInfo::default() };
        let pod = |gpus| PodInfo { requests: amounts(500, 0, gpus), ..PodInfo::default() };
        let plugin = told(json!({"resources": [{"name": "cpu"}, {"name": "example.com/gpu", "weight": 1}]})).expect("is one");
        assert_eq!([0, 2, 4].map(|gpus| plugin.score(&pod(gpus), &node)), [100, 100, 75]);
        let three =
            told(json!({"resources": [{"name": "cpu"}, {"name": "memory"}, {"name": "example.com/gpu"}]})).expect("is one");
        // Shares of 0.5, 0 and 1: the deviation is 0.408.
        assert_eq!(three.score(&pod(4), &node), 59);
        assert!(told(json!({"resources": [{"name": "cpu", "weight": 2}]})).is_err());
    }
}
