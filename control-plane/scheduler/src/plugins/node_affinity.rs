//! NodeAffinity: node selector, required and preferred node affinity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{self, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use mizzen_api::selector::{Operator, Requirement};
use serde::Deserialize;

use crate::framework::{Candidates, ClusterEvent, Plugin, PluginState, Point, Points, Rejection, Scope, normalize_by_maximum};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

/// `NodeAffinityArgs`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Args {
    /// Of every pod of the profile, besides its own.
    added_affinity: Option<v1::NodeAffinity>,
}

#[derive(Default)]
pub(super) struct NodeAffinity {
    added: Option<Stated>,
}

impl NodeAffinity {
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) fn new(args: &Args) -> Result<Self, String> {
        let added = args.added_affinity.as_ref().map(|affinity| Stated::by(Some(affinity), BTreeMap::new()));
        let terms = added.iter().flat_map(|stated| stated.required.iter().flatten());
        match terms.into_iter().any(|term| term.is_void) {
            true => Err("args: addedAffinity has a term that no node can match".to_owned()),
            false => Ok(Self { added }),
        }
    }

    /// Whether it has something to say about every pod.
    fn adds(&self) -> bool {
        self.added.as_ref().is_some_and(|stated| stated.required.is_some())
    }
}

/// What a pod says about its nodes, read once for all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Stated {
    labels: BTreeMap<String, String>,
    /// Of which one has to match, if there are any.
    required: Option<Vec<Term>>,
    preferred: Vec<(i64, Term)>,
}

/// Requirements of labels and names that must all hold.
#[derive(Clone, Debug, Default)]
struct Term {
    labels: Vec<Requirement>,
    /// Names, and whether the node has to be among them.
    names: Vec<(Vec<String>, bool)>,
    /// It has no requirements, or one that is not valid: it matches nothing.
    is_void: bool,
}

/// The terms of a node selector.
#[derive(Clone, Debug)]
pub struct NodeTerms(Vec<Term>);

impl NodeTerms {
    pub(crate) fn of(selector: &NodeSelector) -> Self {
        Self(selector.node_selector_terms.iter().map(Term::of).collect())
    }

    /// Whether one of them matches.
    pub(crate) fn match_one(&self, node: &NodeInfo) -> bool {
        self.0.iter().any(|term| term.matches(node))
    }
}

impl Stated {
    pub(super) fn of(pod: &PodInfo) -> Self {
        Self::by(pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref()), pod.node_selector.clone())
    }

    fn by(affinity: Option<&v1::NodeAffinity>, labels: BTreeMap<String, String>) -> Self {
        let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        let preferred = affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
        let preferred = preferred.into_iter().flatten().map(|term| (term.weight.into(), Term::of(&term.preference)));
        Self {
            labels,
            required: required.map(|required| required.node_selector_terms.iter().map(Term::of).collect()),
            preferred: preferred.collect(),
        }
    }

    /// Whether node selector and required affinity let the pod onto the node.
    pub(super) fn allows(&self, node: &NodeInfo) -> bool {
        self.labels.iter().all(|(key, value)| node.labels.get(key) == Some(value))
            && self.required.as_ref().is_none_or(|required| required.iter().any(|term| term.matches(node)))
    }
}

impl Term {
    fn of(term: &NodeSelectorTerm) -> Self {
        let expressions = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let labels: Option<Vec<Requirement>> = expressions.iter().map(label).collect();
        let names: Option<Vec<_>> = fields.iter().map(name).collect();
        let is_void = (expressions.is_empty() && fields.is_empty()) || labels.is_none() || names.is_none();
        Self { labels: labels.unwrap_or_default(), names: names.unwrap_or_default(), is_void }
    }

    fn matches(&self, node: &NodeInfo) -> bool {
        !self.is_void
            && self.labels.iter().all(|requirement| requirement.matches(node.labels.get(&requirement.key).map(String::as_str)))
            && self.names.iter().all(|(names, is_among)| names.contains(&node.name) == *is_among)
    }
}

fn label(requirement: &NodeSelectorRequirement) -> Option<Requirement> {
    let operator = match requirement.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::Gt,
        "Lt" => Operator::Lt,
        _ => return None,
    };
    Requirement::new(&requirement.key, operator, requirement.values.clone().unwrap_or_default()).ok()
}

/// The key is a field's path, not a label; only the values matter to the comparison.
fn name(requirement: &NodeSelectorRequirement) -> Option<(Vec<String>, bool)> {
    let is_among = match (requirement.key.as_str(), requirement.operator.as_str()) {
        ("metadata.name", "In") => true,
        ("metadata.name", "NotIn") => false,
        _ => return None,
    };
    Some((requirement.values.clone().unwrap_or_default(), is_among))
}

fn required(pod: &PodInfo) -> Option<&NodeSelector> {
    pod.affinity.as_ref()?.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()
}

/// The nodes that a selector names, when every term of it names some (as those of a DaemonSet's pods do).
fn named(required: &NodeSelector) -> Option<BTreeSet<String>> {
    let of_term = |term: &NodeSelectorTerm| {
        let is_name = |r: &&NodeSelectorRequirement| r.key == "metadata.name" && r.operator == "In";
        let named = term.match_fields.iter().flatten().find(is_name)?;
        Some(named.values.clone().unwrap_or_default())
    };
    let terms: Option<Vec<_>> = required.node_selector_terms.iter().map(of_term).collect();
    Some(terms?.into_iter().flatten().collect())
}

/// What the pod says about its nodes, read when it is first asked for; `None` where it says nothing.
fn stated(pod: &PodInfo, state: &mut PluginState) -> Option<Arc<Stated>> {
    let says_nothing =
        pod.node_selector.is_empty() && pod.affinity.as_ref().is_none_or(|affinity| affinity.node_affinity.is_none());
    if !says_nothing && state.get::<Arc<Stated>>().is_none() {
        state.set(Arc::new(Stated::of(pod)));
    }
    state.get().cloned()
}

/// Whether the pod says nothing about its nodes' labels.
pub(super) fn is_indifferent(pod: &PodInfo) -> bool {
    pod.node_selector.is_empty() && required(pod).is_none()
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::PreFilter, Point::Filter, Point::Score])
    }

    fn weight(&self) -> i64 {
        2
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::NodeChanged]
    }

    fn pre_filter(&self, pod: &PodInfo, _snapshot: &Snapshot, _state: &mut PluginState) -> Result<Scope, Rejection> {
        Ok(match (required(pod), pod.node_selector.is_empty()) {
            (None, true) if !self.adds() => Scope::Skip,
            (None, true) => Scope::All,
            (None, false) => Scope::All,
            (Some(required), _) => named(required).map_or(Scope::All, Scope::Nodes),
        })
    }

    fn filter(&self, pod: &PodInfo, _snapshot: &Snapshot, candidates: &mut Candidates<'_>, state: &mut PluginState) {
        if let Some(added) = &self.added {
            let why = "node(s) didn't match scheduler-enforced node affinity";
            candidates.check(|node| if added.allows(node) { Ok(()) } else { Err(Rejection::unresolvable(why)) });
        }
        let why = "node(s) didn't match Pod's node affinity/selector";
        if let Some(stated) = stated(pod, state) {
            candidates.check(|node| if stated.allows(node) { Ok(()) } else { Err(Rejection::unresolvable(why)) });
        }
    }

    fn score(&self, pod: &PodInfo, _snapshot: &Snapshot, nodes: &[Arc<NodeInfo>], state: &mut PluginState) -> Option<Vec<i64>> {
        let stated = stated(pod, state);
        let preferred = || stated.iter().map(Arc::as_ref).chain(&self.added).flat_map(|stated| &stated.preferred);
        preferred().next()?;
        let score = |node: &Arc<NodeInfo>| preferred().filter(|(_, term)| term.matches(node)).map(|(weight, _)| weight).sum();
        Some(nodes.iter().map(score).collect())
    }

    fn normalize(&self, scores: &mut [i64]) {
        normalize_by_maximum(scores, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_profile_adds_holds_for_every_pod() {
        let node = |name: &str, tier: &str| {
            let labels = Arc::new(BTreeMap::from([("tier".to_owned(), tier.to_owned())]));
            Arc::new(NodeInfo { name: name.to_owned(), labels, ..NodeInfo::default() })
        };
        let args = |terms| {
            serde_json::from_value::<Args>(serde_json::json!({"addedAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}))
        };
        let front = serde_json::json!([{"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front"]}]}]);
        let plugin = NodeAffinity::new(&args(front).expect("parses")).expect("is one");
        let snapshot = Snapshot::of(vec![node("a", "front"), node("b", "back")]);
        let (pod, mut state) = (PodInfo::default(), PluginState::default());
        assert_eq!(plugin.pre_filter(&pod, &snapshot, &mut state), Ok(Scope::All));
        let mut candidates = Candidates::new(&snapshot.nodes);
        plugin.filter(&pod, &snapshot, &mut candidates, &mut state);
        let verdicts: Vec<bool> = candidates.into_verdicts().map(|(_, why)| why.is_none()).collect();
        assert_eq!(verdicts, [true, false]);
        let never = serde_json::json!([{"matchExpressions": [{"key": "tier", "operator": "Near"}]}]);
        assert!(NodeAffinity::new(&args(never).expect("parses")).is_err());
    }

    #[test]
    fn terms_are_alternatives_and_their_requirements_add_up() {
        let node = NodeInfo {
            name: "n1".into(),
            labels: Arc::new(BTreeMap::from([("zone".into(), "a".into()), ("cpus".into(), "8".into())])),
            ..NodeInfo::default()
        };
        let requirement = |key: &str, operator: &str, values: &[&str]| NodeSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
        };
        let expressions =
            |all: Vec<NodeSelectorRequirement>| NodeSelectorTerm { match_expressions: Some(all), match_fields: None };
        let fields = |all| NodeSelectorTerm { match_expressions: None, match_fields: Some(all) };
        for (term, expected) in [
            (expressions(vec![requirement("zone", "In", &["a", "b"])]), true),
            (expressions(vec![requirement("zone", "In", &["a"]), requirement("cpus", "Gt", &["8"])]), false),
            (expressions(vec![requirement("cpus", "Gt", &["4"]), requirement("gpu", "DoesNotExist", &[])]), true),
            (expressions(vec![requirement("gpu", "Exists", &[])]), false),
            (expressions(vec![requirement("gpu", "NotIn", &["x"])]), true),
            (expressions(vec![requirement("zone", "Near", &["a"])]), false),
            (expressions(vec![]), false),
            (fields(vec![requirement("metadata.name", "In", &["n1"])]), true),
            (fields(vec![requirement("metadata.name", "NotIn", &["n1"])]), false),
            (fields(vec![requirement("spec.podCIDR", "In", &["n1"])]), false),
        ] {
            assert_eq!(Term::of(&term).matches(&node), expected, "{term:?}");
        }
    }
}
