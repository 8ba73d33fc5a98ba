//! NodeResourcesFit: what a pod requests must be free on the node.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use super::allocation::{ScoringStrategy, Strategy};
use crate::framework::{Candidates, ClusterEvent, Plugin, PluginState, Point, Points, Rejection};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

/// `NodeResourcesFitArgs`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Args {
    ignored_resources: Vec<String>,
    ignored_resource_groups: Vec<String>,
    scoring_strategy: ScoringStrategy,
}

#[derive(Default)]
pub(super) struct NodeResourcesFit {
    strategy: Strategy,
    ignored: Ignored,
}

/// Resources that others look after.
#[derive(Default)]
struct Ignored {
    names: Vec<String>,
    /// What comes before the slash.
    groups: Vec<String>,
}

impl NodeResourcesFit {
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) fn new(args: &Args) -> Result<Self, String> {
        let ignored = Ignored { names: args.ignored_resources.clone(), groups: args.ignored_resource_groups.clone() };
        Ok(Self { strategy: Strategy::of(&args.scoring_strategy)?, ignored })
    }
}

impl Ignored {
    fn has(&self, name: &str) -> bool {
        let group = name.split_once('/').map(|(group, _)| group);
        self.names.iter().any(|ignored| ignored == name) || self.groups.iter().any(|ignored| Some(ignored.as_str()) == group)
    }
}

/// Said about thousands of nodes at a time.
const COMMON: [(&str, &str); 3] =
    [("cpu", "Insufficient cpu"), ("memory", "Insufficient memory"), ("ephemeral-storage", "Insufficient ephemeral-storage")];

/// What the node lacks, and whether it would lack it even when empty.
fn lacking(pod: &PodInfo, node: &NodeInfo, ignored: &Ignored) -> Option<Rejection> {
    let mut reasons: Vec<Cow<'static, str>> = Vec::new();
    let mut unresolvable = false;
    if node.pods.len() + 1 > node.allowed_pods {
        reasons.push("Too many pods".into());
    }
    let mut check = |name: &str, wanted: i64, allocatable: i64, requested: i64| {
        if wanted > 0 && wanted > allocatable.saturating_sub(requested) {
            let common = COMMON.iter().find(|(common, _)| *common == name).map(|(_, reason)| Cow::Borrowed(*reason));
            reasons.push(common.unwrap_or_else(|| format!("Insufficient {name}").into()));
            unresolvable |= wanted > allocatable;
        }
    };
    let (wanted, all, taken) = (&pod.requests, &node.allocatable, &node.requested);
    check("cpu", wanted.milli_cpu, all.milli_cpu, taken.milli_cpu);
    check("memory", wanted.memory, all.memory, taken.memory);
    check("ephemeral-storage", wanted.ephemeral_storage, all.ephemeral_storage, taken.ephemeral_storage);
    for (name, amount) in wanted.others.iter().filter(|(name, _)| !ignored.has(name)) {
        let of = |amounts: &std::collections::BTreeMap<String, i64>| amounts.get(name).copied().unwrap_or(0);
        check(name, *amount, of(&all.others), of(&taken.others));
    }
    (!reasons.is_empty()).then_some(Rejection { reasons, unresolvable, is_failure: false })
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Filter, Point::Score])
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::NodeChanged, ClusterEvent::PodLeft]
    }

    fn filter(&self, pod: &PodInfo, _snapshot: &Snapshot, candidates: &mut Candidates<'_>, _state: &mut PluginState) {
        candidates.check(|node| lacking(pod, node, &self.ignored).map_or(Ok(()), Err));
    }

    fn score(&self, pod: &PodInfo, _snapshot: &Snapshot, nodes: &[Arc<NodeInfo>], _state: &mut PluginState) -> Option<Vec<i64>> {
        Some(nodes.iter().map(|node| self.strategy.score(pod, node)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Amounts;

    fn amounts(milli_cpu: i64, memory: i64, gpus: i64) -> Amounts {
        let others = [("example.com/gpu".to_owned(), gpus)].into_iter().filter(|(_, n)| *n > 0).collect();
        Amounts { milli_cpu, memory, others, ..Amounts::default() }
    }

    #[test]
    fn each_lacking_resource_is_named() {
        let mut node = NodeInfo { allocatable: amounts(2000, 1000, 1), allowed_pods: 2, ..NodeInfo::default() };
        let lacking = |pod: &PodInfo, node: &NodeInfo| lacking(pod, node, &Ignored::default());
        let pod = |uid: &str, requests| PodInfo { uid: uid.into(), requests, ..PodInfo::default() };
        node.add_pod(Arc::new(pod("a", amounts(1500, 500, 1))));
        for (wanted, expected) in [
            (amounts(500, 500, 0), vec![]),
            (amounts(501, 500, 0), vec!["Insufficient cpu"]),
            (amounts(0, 501, 1), vec!["Insufficient memory", "Insufficient example.com/gpu"]),
            (amounts(0, 0, 0), vec![]),
        ] {
            let reasons = lacking(&pod("b", wanted), &node).map(|rejection| rejection.reasons).unwrap_or_default();
            assert_eq!(reasons, expected);
        }
        assert!(!lacking(&pod("b", amounts(600, 0, 0)), &node).expect("lacks").unresolvable);
        assert!(lacking(&pod("b", amounts(2600, 0, 0)), &node).expect("lacks").unresolvable);
        node.add_pod(Arc::new(pod("b", amounts(0, 0, 0))));
        assert_eq!(lacking(&pod("c", amounts(0, 0, 0)), &node).expect("is full").reasons, ["Too many pods"]);
    }

    #[test]
    fn what_others_look_after_is_not_lacking() {
        let node = NodeInfo { allowed_pods: 2, ..NodeInfo::default() };
        let pod = PodInfo { requests: amounts(0, 0, 1), ..PodInfo::default() };
        for (names, groups, is_lacking) in
            [(vec![], vec![], true), (vec!["example.com/gpu"], vec![], false), (vec![], vec!["example.com"], false)]
        {
            let owned = |of: Vec<&str>| of.into_iter().map(str::to_owned).collect();
            let ignored = Ignored { names: owned(names), groups: owned(groups) };
            assert_eq!(lacking(&pod, &node, &ignored).is_some(), is_lacking);
        }
    }
}
