//! PodTopologySpread: keeps the pods of one kind evenly over zones, nodes or any other label. A pod without
//! constraints of its own is spread against the other pods of its controller: softly, or as the profile says.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use mizzen_api::selector::LabelSelector;
use serde::Deserialize;

use super::node_affinity::Stated;
use super::{node_affinity, taint_toleration};
use crate::framework::{Candidates, MAX_SCORE, Plugin, PluginState, Point, Points, Rejection, Scope};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

/// `PodTopologySpreadArgs`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Args {
    default_constraints: Vec<TopologySpreadConstraint>,
    defaulting_type: Defaulting,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Defaulting {
    #[default]
    System,
    List,
}

#[derive(Default)]
pub(super) struct PodTopologySpread {
    /// For pods without constraints of their own; Kubernetes' default ones without it.
    defaults: Option<Vec<TopologySpreadConstraint>>,
}

impl PodTopologySpread {
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) fn new(args: Args) -> Result<Self, String> {
        let Args { default_constraints, defaulting_type } = args;
        if defaulting_type == Defaulting::System {
            return match default_constraints.is_empty() {
                true => Ok(Self::default()),
                false => Err("args: defaultConstraints is for the defaultingType List".to_owned()),
            };
        }
        for constraint in &default_constraints {
            let wrong = |why: &str| Err(format!("args: the constraint of {:?} {why}", constraint.topology_key));
            if constraint.topology_key.is_empty() {
                return wrong("has no topologyKey");
            }
            if constraint.max_skew < 1 {
                return wrong("has a maxSkew below 1");
            }
            if !["DoNotSchedule", "ScheduleAnyway"].contains(&constraint.when_unsatisfiable.as_str()) {
                return wrong("has a whenUnsatisfiable that is neither DoNotSchedule nor ScheduleAnyway");
            }
            if constraint.label_selector.is_some() || constraint.match_label_keys.is_some() {
                return wrong("selects by labels: the pods of the same controller are what counts");
            }
        }
        Ok(Self { defaults: Some(default_constraints) })
    }

    /// The constraints of a pod: its own, or those of the profile.
    fn constraints<'a>(&'a self, pod: &'a PodInfo, when_unsatisfiable: &'a str) -> impl Iterator<Item = Constraint> + 'a {
        let defaults = self.defaults.as_deref().filter(|_| has_defaults(pod)).unwrap_or_default();
        let all = pod.spread.iter().map(|stated| (stated, true)).chain(defaults.iter().map(|stated| (stated, false)));
        let wanted = all.filter(move |(stated, _)| stated.when_unsatisfiable == when_unsatisfiable);
        wanted.map(|(stated, is_own)| constraint(pod, stated, if is_own { of_labels(pod, stated) } else { Counted::SameOwner }))
    }
}

/// Whether default constraints hold for it.
fn has_defaults(pod: &PodInfo) -> bool {
    pod.spread.is_empty() && !pod.owner.is_empty()
}

const ZONE: &str = "topology.kubernetes.io/zone";

/// Which pods count.
#[derive(Clone)]
enum Counted {
    Labelled(LabelSelector),
    SameOwner,
}

#[derive(Clone)]
struct Constraint {
    key: String,
    max_skew: i64,
    min_domains: i64,
    counted: Counted,
    /// The pod itself is among the counted.
    counts_itself: bool,
    /// Where the pod may go, if only nodes there count.
    affinity: Option<Arc<Stated>>,
    honor_taints: bool,
    /// Matching pods by the domain's value.
    domains: HashMap<String, i64>,
}

/// Those that nodes are rejected for.
#[derive(Clone, Default)]
struct Hard {
    constraints: Vec<Constraint>,
    /// Nodes without one of these labels do not count.
    keys: HashSet<String>,
}

/// Those that nodes are scored by.
#[derive(Clone)]
enum Soft {
    Stated(Vec<Constraint>),
    /// Kubernetes' default constraints: nodes matter more than zones. Pods of the same controller, by zone.
    SameOwner {
        zones: HashMap<String, i64>,
        hosts: usize,
    },
}

/// The pods that a pod's own constraint selects.
fn of_labels(pod: &PodInfo, stated: &TopologySpreadConstraint) -> Counted {
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
    Counted::Labelled(requirements)
}

fn constraint(pod: &PodInfo, stated: &TopologySpreadConstraint, counted: Counted) -> Constraint {
    Constraint {
        key: stated.topology_key.clone(),
        max_skew: stated.max_skew.into(),
        min_domains: stated.min_domains.unwrap_or(1).into(),
        counts_itself: counted.has(pod, pod),
        counted,
        affinity: (stated.node_affinity_policy.as_deref() != Some("Ignore") && !node_affinity::is_indifferent(pod))
            .then(|| Arc::new(Stated::of(pod))),
        honor_taints: stated.node_taints_policy.as_deref() == Some("Honor"),
        domains: HashMap::new(),
    }
}

const HOST_SKEW: i64 = 3;
const ZONE_SKEW: i64 = 5;

/// Counts the other pods of the controller zone by zone; what is on a node is known there.
fn same_owner(pod: &PodInfo, snapshot: &Snapshot) -> Soft {
    let hosts = snapshot.nodes.len();
    let mut zones: HashMap<String, i64> = HashMap::new();
    if node_affinity::is_indifferent(pod) {
        let counts = snapshot.zones_of(&pod.owner);
        for zone in snapshot.zones().keys() {
            let count = counts.and_then(|counts| counts.get(zone)).copied().unwrap_or(0);
            zones.insert(zone.clone(), i64::try_from(count).unwrap_or(i64::MAX));
        }
    } else {
        let stated = Stated::of(pod);
        for node in snapshot.nodes.iter().filter(|node| stated.allows(node)) {
            if let Some(zone) = node.labels.get(ZONE) {
                *zones.entry(zone.clone()).or_default() += owned(pod, node);
            }
        }
    }
    Soft::SameOwner { zones, hosts }
}

fn owned(pod: &PodInfo, node: &NodeInfo) -> i64 {
    node.by_owner.get(&pod.owner).map_or(0, |count| i64::try_from(*count).unwrap_or(i64::MAX))
}

/// The fewer the domains, the more pods each must hold anyway: rarer domains weigh less.
fn crowding(present: i64, domains: usize, max_skew: i64) -> i64 {
    let weight = i64::from((domains + 2).ilog2()).max(1);
    present.saturating_mul(weight).saturating_add(max_skew - 1)
}

impl Counted {
    /// Whether another pod counts for a pod.
    fn has(&self, pod: &PodInfo, other: &PodInfo) -> bool {
        match self {
            Self::Labelled(selector) => selector.matches(&other.labels),
            Self::SameOwner => other.owner == pod.owner,
        }
    }
}

impl Constraint {
    fn domain<'a>(&self, node: &'a NodeInfo) -> Option<&'a str> {
        node.labels.get(&self.key).map(String::as_str)
    }

    fn counts(&self, pod: &PodInfo, other: &PodInfo) -> bool {
        !other.terminating && other.key.namespace == pod.key.namespace && self.counted.has(pod, other)
    }

    /// Whether pods on the node count.
    fn is_eligible(&self, pod: &PodInfo, node: &NodeInfo, required_keys: &HashSet<String>) -> bool {
        self.affinity.as_ref().is_none_or(|stated| stated.allows(node))
            && (!self.honor_taints || tolerated(pod, node))
            && required_keys.iter().all(|key| node.labels.contains_key(key))
    }

    /// In a trial, a pod came to the node or left it.
    fn change(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, required_keys: &HashSet<String>, by: i64) {
        if self.counts(pod, other)
            && self.is_eligible(pod, node, required_keys)
            && let Some(count) = self.domain(node).and_then(|domain| self.domains.get_mut(domain))
        {
            *count += by;
        }
    }

    fn count_all(&mut self, pod: &PodInfo, nodes: &[Arc<NodeInfo>], required_keys: &HashSet<String>) {
        for node in nodes {
            let Some(domain) = self.domain(node).filter(|_| self.is_eligible(pod, node, required_keys)) else { continue };
            let count = node.pods.iter().filter(|other| self.counts(pod, other)).count();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            match self.domains.get_mut(domain) {
                Some(present) => *present = present.saturating_add(count),
                None => {
                    let domain = domain.to_owned();
                    self.domains.insert(domain, count);
                }
            }
        }
    }

    /// The least count of a domain; 0 while there are fewer domains than asked for.
    fn least(&self) -> i64 {
        let enough = i64::try_from(self.domains.len()).unwrap_or(i64::MAX) >= self.min_domains;
        if enough { self.domains.values().copied().min().unwrap_or(0) } else { 0 }
    }

    fn verdict(&self, node: &NodeInfo, least: i64) -> Result<(), Rejection> {
        let Some(domain) = self.domain(node) else {
            return Err(Rejection::unresolvable("node(s) didn't match pod topology spread constraints (missing required label)"));
        };
        let present = self.domains.get(domain).copied().unwrap_or(0);
        if present + i64::from(self.counts_itself) - least > self.max_skew {
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
        "PodTopologySpread"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score])
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_filter(&self, pod: &PodInfo, snapshot: &Snapshot, state: &mut PluginState) -> Result<Scope, Rejection> {
        let mut constraints: Vec<Constraint> = self.constraints(pod, "DoNotSchedule").collect();
        if constraints.is_empty() {
            return Ok(Scope::Skip);
        }
        let keys: HashSet<String> = constraints.iter().map(|constraint| constraint.key.clone()).collect();
        constraints.iter_mut().for_each(|constraint| constraint.count_all(pod, &snapshot.nodes, &keys));
        state.set(Hard { constraints, keys });
        Ok(Scope::All)
    }

    fn pod_added(&self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, state: &mut PluginState) {
        if let Some(Hard { constraints, keys }) = state.get_mut() {
            constraints.iter_mut().for_each(|constraint| constraint.change(pod, other, node, keys, 1));
        }
    }

    fn pod_removed(&self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, state: &mut PluginState) {
        if let Some(Hard { constraints, keys }) = state.get_mut() {
            constraints.iter_mut().for_each(|constraint| constraint.change(pod, other, node, keys, -1));
        }
    }

    fn filter(&self, _pod: &PodInfo, _snapshot: &Snapshot, candidates: &mut Candidates<'_>, state: &mut PluginState) {
        for constraint in state.get::<Hard>().into_iter().flat_map(|hard| &hard.constraints) {
            let least = constraint.least();
            candidates.check(|node| constraint.verdict(node, least));
        }
    }

    fn pre_score(&self, pod: &PodInfo, _feasible: &[Arc<NodeInfo>], snapshot: &Snapshot, state: &mut PluginState) {
        *state = PluginState::default();
        let mut soft: Vec<Constraint> = self.constraints(pod, "ScheduleAnyway").collect();
        if self.defaults.is_none() && has_defaults(pod) {
            state.set(same_owner(pod, snapshot));
        } else if !soft.is_empty() {
            soft.iter_mut().for_each(|constraint| constraint.count_all(pod, &snapshot.nodes, &HashSet::new()));
            state.set(Soft::Stated(soft));
        }
    }

    fn score(&self, pod: &PodInfo, _snapshot: &Snapshot, nodes: &[Arc<NodeInfo>], state: &mut PluginState) -> Option<Vec<i64>> {
        let soft = state.get::<Soft>()?;
        let of_stated = |node: &NodeInfo, constraint: &Constraint| {
            let present = constraint.domain(node).and_then(|domain| constraint.domains.get(domain)).copied().unwrap_or(0);
            crowding(present, constraint.domains.len(), constraint.max_skew)
        };
        let score = |node: &Arc<NodeInfo>| match soft {
            Soft::Stated(constraints) => constraints.iter().map(|constraint| of_stated(node, constraint)).sum(),
            Soft::SameOwner { zones, hosts } => {
                let zone = if zones.is_empty() { None } else { node.labels.get(ZONE) };
                let in_zone = zone.and_then(|zone| zones.get(zone)).copied().unwrap_or(0);
                crowding(owned(pod, node), *hosts, HOST_SKEW) + crowding(in_zone, zones.len(), ZONE_SKEW)
            }
        };
        Some(nodes.iter().map(score).collect())
    }

    fn normalize(&self, scores: &mut [i64]) {
        let (least, most) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            *score = if most == 0 { MAX_SCORE } else { MAX_SCORE * (most + least - *score) / most };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorDocument;
    use serde_json::{Value, json};

    use super::*;

    fn pod(uid: &str, owner: &str) -> PodInfo {
        let labels = Arc::new(BTreeMap::from([("app".to_owned(), "web".to_owned())]));
        PodInfo { uid: uid.into(), owner: owner.into(), labels, ..PodInfo::default() }
    }

    fn node(name: &str, zone: &str, pods: usize) -> Arc<NodeInfo> {
        let labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), name.to_owned()), (ZONE.to_owned(), zone.to_owned())]);
        let mut node = NodeInfo { name: name.into(), labels: Arc::new(labels), ..NodeInfo::default() };
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
        let snapshot = Snapshot::of(vec![node("n1", "a", 1), node("n2", "a", 1), node("n3", "b", 1)]);
        assert_eq!(feasible(&PodTopologySpread::default(), &waiting, &snapshot), ["n3"]);
    }

    fn feasible(plugin: &PodTopologySpread, pod: &PodInfo, snapshot: &Snapshot) -> Vec<String> {
        let mut state = PluginState::default();
        plugin.pre_filter(pod, snapshot, &mut state).expect("goes on");
        let mut candidates = Candidates::new(&snapshot.nodes);
        plugin.filter(pod, snapshot, &mut candidates, &mut state);
        candidates.into_verdicts().filter(|(_, why)| why.is_none()).map(|(n, _)| n.name.clone()).collect()
    }

    fn told(args: Value) -> Result<PodTopologySpread, String> {
        PodTopologySpread::new(serde_json::from_value(args).expect("has its fields"))
    }

    #[test]
    fn a_profile_says_how_pods_of_one_controller_are_spread() {
        let hard = json!({"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"});
        let plugin = told(json!({"defaultingType": "List", "defaultConstraints": [hard]})).expect("is one");
        let snapshot = Snapshot::of(vec![node("n1", "a", 1), node("n2", "a", 1), node("n3", "b", 1)]);
        assert_eq!(feasible(&plugin, &pod("new", "set"), &snapshot), ["n3"]);
        for (what, other) in [("another controller", pod("new", "other")), ("no controller", pod("new", ""))] {
            assert_eq!(feasible(&plugin, &other, &snapshot).len(), 3, "{what}");
        }
        // An empty list spreads nothing.
        let none = told(json!({"defaultingType": "List"})).expect("is one");
        let mut state = PluginState::default();
        none.pre_score(&pod("new", "set"), &snapshot.nodes, &snapshot, &mut state);
        assert!(none.score(&pod("new", "set"), &snapshot, &snapshot.nodes, &mut state).is_none());
    }

    #[test]
    fn default_constraints_that_make_no_sense_are_named() {
        let selecting = json!({"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}});
        for (args, why) in [
            (json!({"defaultConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway"}]}), "List"),
            (
                json!({"defaultingType": "List", "defaultConstraints": [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": ""}]}),
                "maxSkew below 1",
            ),
            (
                json!({"defaultingType": "List", "defaultConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "No"}]}),
                "whenUnsatisfiable",
            ),
            (json!({"defaultingType": "List", "defaultConstraints": [selecting]}), "selects by labels"),
        ] {
            let said = told(args).err().expect("is refused");
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn pods_of_one_controller_prefer_empty_nodes() {
        let waiting = pod("new", "set");
        let snapshot = Snapshot::of(vec![node("n1", "a", 2), node("n2", "a", 0), node("n3", "a", 1)]);
        let mut state = PluginState::default();
        let plugin = PodTopologySpread::default();
        plugin.pre_score(&waiting, &snapshot.nodes, &snapshot, &mut state);
        let mut scores = plugin.score(&waiting, &snapshot, &snapshot.nodes, &mut state).expect("scores");
        plugin.normalize(&mut scores);
        assert!(scores[1] > scores[2] && scores[2] > scores[0], "{scores:?}");
    }
}
