//! How good a node is by how much of it is taken: the scoring strategies of NodeResourcesFit.

use serde::Deserialize;

use crate::framework::MAX_SCORE;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::resources::Amounts;

/// `scoringStrategy` of `NodeResourcesFitArgs`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ScoringStrategy {
    #[serde(rename = "type")]
    kind: Kind,
    resources: Vec<ResourceSpec>,
    requested_to_capacity_ratio: Option<RatioParam>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Kind {
    #[default]
    LeastAllocated,
    MostAllocated,
    RequestedToCapacityRatio,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceSpec {
    pub(super) name: String,
    #[serde(default = "one")]
    pub(super) weight: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RatioParam {
    shape: Vec<ShapePoint>,
}

/// Percents taken, and what they are worth, from 0 to 10.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShapePoint {
    utilization: i64,
    score: i64,
}

const fn one() -> i64 {
    1
}

impl Default for ScoringStrategy {
    fn default() -> Self {
        let resources = ["cpu", "memory"].map(|name| ResourceSpec { name: name.to_owned(), weight: 1 });
        Self { kind: Kind::default(), resources: resources.into(), requested_to_capacity_ratio: None }
    }
}

/// The strategy made ready.
pub(super) struct Strategy {
    /// With their weights.
    resources: Vec<(Resource, i64)>,
    worth: Worth,
}

enum Worth {
    Least,
    Most,
    /// Percents taken and scores up to [`MAX_SCORE`], by percents.
    Ratio(Vec<(i64, i64)>),
}

pub(super) enum Resource {
    Cpu,
    Memory,
    EphemeralStorage,
    Other(String),
}

impl Resource {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "cpu" => Self::Cpu,
            "memory" => Self::Memory,
            "ephemeral-storage" => Self::EphemeralStorage,
            other => Self::Other(other.to_owned()),
        }
    }

    pub(super) fn of(&self, amounts: &Amounts) -> i64 {
        match self {
            Self::Cpu => amounts.milli_cpu,
            Self::Memory => amounts.memory,
            Self::EphemeralStorage => amounts.ephemeral_storage,
            Self::Other(name) => amounts.others.get(name).copied().unwrap_or(0),
        }
    }

    /// What the node has of it, and what is requested once the pod is there. `None` where it has none, or the pod does not care.
    pub(super) fn requested(&self, pod: &PodInfo, node: &NodeInfo) -> Option<(i64, i64)> {
        let (capacity, asked) = (self.of(&node.allocatable), self.of(&pod.requests));
        let is_of_interest = capacity > 0 && (asked > 0 || !matches!(self, Self::Other(_)));
        is_of_interest.then(|| (capacity, self.of(&node.requested).saturating_add(asked)))
    }

    /// The same, with what pods that request nothing count for.
    fn amounts(&self, pod: &PodInfo, node: &NodeInfo) -> Option<(i64, i64)> {
        let (capacity, counted, counts) = match self {
            Self::Cpu => (node.allocatable.milli_cpu, node.scoring.0, pod.scoring.0),
            Self::Memory => (node.allocatable.memory, node.scoring.1, pod.scoring.1),
            _ => return self.requested(pod, node),
        };
        (capacity > 0).then(|| (capacity, counted.saturating_add(counts)))
    }
}

impl Default for Strategy {
    fn default() -> Self {
        Self { resources: vec![(Resource::Cpu, 1), (Resource::Memory, 1)], worth: Worth::Least }
    }
}

impl Strategy {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(stated: &ScoringStrategy) -> Result<Self, String> {
        if stated.resources.is_empty() {
            return Err("scoringStrategy.resources: has none".to_owned());
        }
        for ResourceSpec { name, weight } in &stated.resources {
            if !(1..=100).contains(weight) {
                return Err(format!("scoringStrategy.resources: the weight {weight} of {name} is not between 1 and 100"));
            }
        }
        let worth = match (stated.kind, &stated.requested_to_capacity_ratio) {
            (Kind::LeastAllocated, None) => Worth::Least,
            (Kind::MostAllocated, None) => Worth::Most,
            (Kind::RequestedToCapacityRatio, Some(ratio)) => Worth::Ratio(shape(&ratio.shape)?),
            (Kind::RequestedToCapacityRatio, None) => {
                return Err("scoringStrategy.requestedToCapacityRatio: is required by its type".to_owned());
            }
            (_, Some(_)) => return Err("scoringStrategy.requestedToCapacityRatio: is not of its type".to_owned()),
        };
        let resources = stated.resources.iter().map(|spec| (Resource::named(&spec.name), spec.weight));
        Ok(Self { resources: resources.collect(), worth })
    }

    /// From 0 to [`MAX_SCORE`].
    pub(super) fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let (mut sum, mut weights) = (0, 0);
        for (resource, weight) in &self.resources {
            let Some((capacity, taken)) = resource.amounts(pod, node) else { continue };
            let score = self.worth.of(capacity, taken);
            // As in Kubernetes, what a shape gives nothing for does not count.
            if score > 0 || !matches!(self.worth, Worth::Ratio(_)) {
                sum += score * weight;
                weights += weight;
            }
        }
        match self.worth {
            _ if weights == 0 => 0,
            Worth::Ratio(_) => (2 * sum + weights) / (2 * weights),
            _ => sum / weights,
        }
    }
}

impl Worth {
    fn of(&self, capacity: i64, taken: i64) -> i64 {
        match self {
            Self::Least => capacity.saturating_sub(taken).max(0).saturating_mul(MAX_SCORE) / capacity,
            Self::Most => taken.clamp(0, capacity).saturating_mul(MAX_SCORE) / capacity,
            Self::Ratio(points) => between(points, taken.clamp(0, capacity).saturating_mul(100) / capacity),
        }
    }
}

/// On the line through the points.
fn between(points: &[(i64, i64)], percent: i64) -> i64 {
    let after = points.iter().position(|(at, _)| *at >= percent);
    match after {
        Some(0) => points[0].1,
        Some(after) => {
            let ((left, low), (right, high)) = (points[after - 1], points[after]);
            low + (high - low) * (percent - left) / (right - left)
        }
        None => points.last().map_or(0, |(_, score)| *score),
    }
}

fn shape(points: &[ShapePoint]) -> Result<Vec<(i64, i64)>, String> {
    const WHERE: &str = "scoringStrategy.requestedToCapacityRatio.shape";
    if points.is_empty() {
        return Err(format!("{WHERE}: has no points"));
    }
    for point in points {
        if !(0..=100).contains(&point.utilization) || !(0..=10).contains(&point.score) {
            return Err(format!("{WHERE}: utilization is from 0 to 100, score from 0 to 10"));
        }
    }
    if points.windows(2).any(|pair| pair[0].utilization >= pair[1].utilization) {
        return Err(format!("{WHERE}: utilization has to increase"));
    }
    Ok(points.iter().map(|point| (point.utilization, point.score * MAX_SCORE / 10)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn strategy(stated: Value) -> Result<Strategy, String> {
        Strategy::of(&serde_json::from_value(stated).expect("has its fields"))
    }

    fn amounts(milli_cpu: i64, memory: i64, gpus: i64) -> Amounts {
        let others = [("example.com/gpu".to_owned(), gpus)].into_iter().filter(|(_, n)| *n > 0).collect();
        Amounts { milli_cpu, memory, others, ..Amounts::default() }
    }

    #[test]
    fn the_score_is_the_mean_free_share_after_the_pod_unless_stated() {
        let node = NodeInfo { allocatable: amounts(1000, 1000, 0), scoring: (500, 0), ..NodeInfo::default() };
        let pod = |cpu, memory| PodInfo { scoring: (cpu, memory), ..PodInfo::default() };
        let least = strategy(json!({})).expect("is the default");
        assert_eq!([(0, 0), (500, 500), (5000, 5000)].map(|(cpu, memory)| least.score(&pod(cpu, memory), &node)), [75, 25, 0]);
        let most = strategy(json!({"type": "MostAllocated"})).expect("is one");
        assert_eq!([(0, 0), (500, 500), (5000, 5000)].map(|(cpu, memory)| most.score(&pod(cpu, memory), &node)), [25, 75, 100]);
    }

    #[test]
    fn resources_count_by_their_weights_and_others_only_for_pods_that_ask() {
        let node = NodeInfo { allocatable: amounts(1000, 1000, 4), ..NodeInfo::default() };
        let resources = json!([{"name": "cpu"}, {"name": "example.com/gpu", "weight": 3}]);
        let most = strategy(json!({"type": "MostAllocated", "resources": resources})).expect("is one");
        let pod = |gpus| PodInfo { scoring: (1000, 0), requests: amounts(1000, 0, gpus), ..PodInfo::default() };
        assert_eq!((most.score(&pod(0), &node), most.score(&pod(2), &node)), (100, (100 + 3 * 50) / 4));
    }

    #[test]
    fn a_shape_is_a_line_through_its_points() {
        let shape = json!({"shape": [{"utilization": 0, "score": 0}, {"utilization": 50, "score": 10}, {"utilization": 100, "score": 5}]});
        let stated =
            json!({"type": "RequestedToCapacityRatio", "resources": [{"name": "cpu"}], "requestedToCapacityRatio": shape});
        let ratio = strategy(stated).expect("is one");
        let node = NodeInfo { allocatable: amounts(1000, 0, 0), ..NodeInfo::default() };
        let score = |cpu| ratio.score(&PodInfo { scoring: (cpu, 0), ..PodInfo::default() }, &node);
        assert_eq!([0, 250, 500, 750, 1000, 2000].map(score), [0, 50, 100, 75, 50, 50]);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let why = |stated| strategy(stated).err().expect("is refused");
        assert!(why(json!({"resources": [{"name": "cpu", "weight": 101}]})).contains("the weight 101 of cpu"));
        assert!(why(json!({"type": "RequestedToCapacityRatio"})).contains("is required by its type"));
        let backwards = json!({"shape": [{"utilization": 10, "score": 0}, {"utilization": 5, "score": 0}]});
        let stated = json!({"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": backwards});
        assert!(why(stated).contains("has to increase"));
    }
}
