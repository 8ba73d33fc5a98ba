//! PodTopologySpread: keeps the pods of one kind evenly over zones, nodes or any other label. A pod without
//! constraints of its own is spread softly against the other pods of its controller.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use mizzen_api::selector::LabelSelector;

use super::{node_affinity, taint_toleration};
use crate::framework::{Candidates, ClusterEvent, CycleState, MAX_SCORE, Plugin, Rejection};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(super) struct PodTopologySpread;

const NAME: &str = "PodTopologySpread";
const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Which pods count against each other.
enum Counted {
    Selected(LabelSelector),
    SameOwner,
}

struct Constraint {
    key: String,
    max_skew: i64,
    min_domains: i64,
    counted: Counted,
    /// The pod itself is among the counted.
    counts_itself: bool,
    honor_affinity: bool,
    honor_taints: bool,
    /// Matching pods by the domain's value.
    domains: HashMap<String, i64>,
}

#[derive(Default)]
struct Spread {
    hard: Vec<Constraint>,
    soft: Vec<Constraint>,
}

fn constraint(pod: &PodInfo, stated: &TopologySpreadConstraint) -> Constraint {
    let document = stated.label_selector.as_ref().and_then(|selector| serde_json::to_value(selector).ok());
    let mut requirements = LabelSelector::from_document(document.as_ref()).unwrap_or_else(|_| LabelSelector::nothing());
    let keys: Vec<String> =
        stated.match_label_keys.iter().flatten().filter(|key| pod.labels.contains_key(*key)).cloned().collect();
    if !keys.is_empty() && document.is_some() {
        let own = keys.iter().filter_map(|key| {
            mizzen_api::selector::Requirement::new(key, mizzen_api::selector::Operator::In, [pod.labels[key].clone()]).ok()
        });
        requirements = LabelSelector::new(requirements.requirements().iter().cloned().chain(own).collect());
    }
    Constraint {
        key: stated.topology_key.clone(),
        max_skew: stated.max_skew.into(),
        min_domains: stated.min_domains.unwrap_or(1).into(),
        counts_itself: requirements.matches(&pod.labels),
        counted: Counted::Selected(requirements),
        honor_affinity: stated.node_affinity_policy.as_deref() != Some("Ignore"),
        honor_taints: stated.node_taints_policy.as_deref() == Some("Honor"),
        domains: HashMap::new(),
    }
}

/// What Kubernetes' default constraints do: nodes matter more than zones.
fn defaults(pod: &PodInfo) -> Vec<Constraint> {
    if pod.owner.is_empty() {
        return Vec::new();
    }
    let soft = |key: &str, max_skew| Constraint {
        key: key.to_owned(),
        max_skew,
        min_domains: 1,
        counted: Counted::SameOwner,
        counts_itself: true,
        honor_affinity: true,
        honor_taints: false,
        domains: HashMap::new(),
    };
    vec![soft(HOSTNAME, 3), soft(ZONE, 5)]
}

impl Constraint {
    fn domain<'a>(&self, node: &'a NodeInfo) -> Option<&'a str> {
        match node.labels.get(&self.key) {
            Some(value) => Some(value),
            // A node without the label is still a host of its own.
            None if self.key == HOSTNAME && matches!(self.counted, Counted::SameOwner) => Some(&node.name),
            None => None,
        }
    }

    fn count_on(&self, pod: &PodInfo, node: &NodeInfo) -> usize {
        match &self.counted {
            Counted::SameOwner => node.by_owner.get(&pod.owner).copied().unwrap_or(0),
            Counted::Selected(selector) => {
                let counts = |other: &&Arc<PodInfo>| {
                    !other.terminating && other.key.namespace == pod.key.namespace && selector.matches(&other.labels)
                };
                node.pods.values().filter(counts).count()
            }
        }
    }

    fn count_all(&mut self, pod: &PodInfo, nodes: &[Arc<NodeInfo>], required_keys: &HashSet<String>) {
        for node in nodes {
            let eligible = (!self.honor_affinity || node_affinity::allows(pod, node))
                && (!self.honor_taints || tolerated(pod, node))
                && required_keys.iter().all(|key| node.labels.contains_key(key));
            if !eligible {
                continue;
            }
            if let Some(domain) = self.domain(node).map(str::to_owned) {
                let count = self.count_on(pod, node);
                *self.domains.entry(domain).or_insert(0) += i64::try_from(count).unwrap_or(i64::MAX);
            }
        }
    }

    /// The least count of a domain; 0 while there are fewer domains than asked for.
    fn least(&self) -> i64 {
        let enough = i64::try_from(self.domains.len()).unwrap_or(i64::MAX) >= self.min_domains;
        if enough { self.domains.values().copied().min().unwrap_or(0) } else { 0 }
    }

    fn verdict(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let Some(domain) = self.domain(node) else {
            return Err(Rejection::unresolvable("node(s) didn't match pod topology spread constraints (missing required label)"));
        };
        let present = self.domains.get(domain).copied().unwrap_or(0);
        if present + i64::from(self.counts_itself) - self.least() > self.max_skew {
            return Err(Rejection::new("node(s) didn't match pod topology spread constraints"));
        }
        Ok(())
    }
}

fn tolerated(pod: &PodInfo, node: &NodeInfo) -> bool {
    let keeps_off = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    keeps_off.into_iter().all(|taint| taint_toleration::tolerates(&pod.tolerations, taint))
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        NAME
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_filter(&self, pod: &PodInfo, snapshot: &Snapshot, state: &mut CycleState) -> Result<(), Rejection> {
        let mut spread = Spread::default();
        for stated in &pod.spread {
            let is_hard = stated.when_unsatisfiable == "DoNotSchedule";
            if is_hard { &mut spread.hard } else { &mut spread.soft }.push(constraint(pod, stated));
        }
        if pod.spread.is_empty() {
            spread.soft = defaults(pod);
        }
        let keys: HashSet<String> = spread.hard.iter().map(|constraint| constraint.key.clone()).collect();
        for constraint in &mut spread.hard {
            constraint.count_all(pod, &snapshot.nodes, &keys);
        }
        for constraint in &mut spread.soft {
            constraint.count_all(pod, &snapshot.nodes, &HashSet::new());
        }
        state.set(NAME, spread);
        Ok(())
    }

    fn filter(&self, _pod: &PodInfo, candidates: &mut Candidates<'_>, state: &CycleState) {
        for constraint in state.get::<Spread>(NAME).into_iter().flat_map(|spread| &spread.hard) {
            candidates.check(|node| constraint.verdict(node));
        }
    }

    fn score(&self, _pod: &PodInfo, nodes: &[Arc<NodeInfo>], state: &CycleState) -> Option<Vec<i64>> {
        let soft = &state.get::<Spread>(NAME)?.soft;
        if soft.is_empty() {
            return None;
        }
        let score = |node: &Arc<NodeInfo>| {
            let crowding = soft.iter().map(|constraint| {
                let present = constraint.domain(node).and_then(|domain| constraint.domains.get(domain)).copied().unwrap_or(0);
                // The fewer the domains, the more pods each must hold anyway: rarer domains weigh less.
                let domains = i64::try_from(constraint.domains.len()).unwrap_or(i64::MAX - 2);
                let weight = i64::from((domains + 2).unsigned_abs().ilog2()).max(1);
                present.saturating_mul(weight).saturating_add(constraint.max_skew - 1)
            });
            crowding.sum()
        };
        Some(nodes.iter().map(score).collect())
    }

    fn normalize(&self, scores: &mut [i64]) {
        let (least, most) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            *score = if most == 0 { MAX_SCORE } else { MAX_SCORE * (most + least - *score) / most };
        }
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        crate::framework::ALL_EVENTS
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorDocument;

    use super::*;

    fn pod(uid: &str, owner: &str) -> PodInfo {
        let labels = Arc::new(BTreeMap::from([("app".to_owned(), "web".to_owned())]));
        PodInfo { uid: uid.into(), owner: owner.into(), labels, ..PodInfo::default() }
    }

    fn node(name: &str, zone: &str, pods: usize) -> Arc<NodeInfo> {
        let labels = BTreeMap::from([(HOSTNAME.to_owned(), name.to_owned()), (ZONE.to_owned(), zone.to_owned())]);
        let mut node = NodeInfo { name: name.into(), labels, ..NodeInfo::default() };
        (0..pods).for_each(|number| node.add_pod(Arc::new(pod(&format!("{name}-{number}"), "set"))));
        Arc::new(node)
    }

    #[test]
    fn a_hard_constraint_refuses_domains_that_would_lead_by_too_much() {
        let stated = TopologySpreadConstraint {
            max_skew: 1,
            topology_key: ZONE.into(),
            when_unsatisfiable: "DoNotSchedule".into(),
            label_selector: Some(SelectorDocument {
                match_labels: Some(BTreeMap::from([("app".into(), "web".into())])),
                ..SelectorDocument::default()
            }),
            ..TopologySpreadConstraint::default()
        };
        let waiting = PodInfo { spread: vec![stated], ..pod("new", "set") };
        let snapshot = Snapshot { nodes: vec![node("n1", "a", 1), node("n2", "a", 1), node("n3", "b", 1)] };
        let mut state = CycleState::default();
        PodTopologySpread.pre_filter(&waiting, &snapshot, &mut state).expect("goes on");
        let mut candidates = Candidates::new(&snapshot.nodes);
        PodTopologySpread.filter(&waiting, &mut candidates, &state);
        let feasible: Vec<_> = candidates.into_verdicts().filter(|(_, why)| why.is_none()).map(|(n, _)| n.name.clone()).collect();
        assert_eq!(feasible, ["n3"]);
    }

    #[test]
    fn pods_of_one_controller_prefer_empty_nodes() {
        let waiting = pod("new", "set");
        let snapshot = Snapshot { nodes: vec![node("n1", "a", 2), node("n2", "a", 0), node("n3", "a", 1)] };
        let mut state = CycleState::default();
        PodTopologySpread.pre_filter(&waiting, &snapshot, &mut state).expect("goes on");
        let mut scores = PodTopologySpread.score(&waiting, &snapshot.nodes, &state).expect("scores");
        PodTopologySpread.normalize(&mut scores);
        assert!(scores[1] > scores[2] && scores[2] > scores[0], "{scores:?}");
    }
}
