//! NodeAffinity: node selector, required and preferred node affinity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use mizzen_api::selector::{Operator, Requirement};

use crate::framework::{Candidates, ClusterEvent, Plugin, PluginState, Point, Points, Rejection, Scope, normalize_by_maximum};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(super) struct NodeAffinity;

/// Whether the node's labels satisfy a requirement; one that is not valid matches nothing.
fn satisfies(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let operator = match requirement.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::Gt,
        "Lt" => Operator::Lt,
        _ => return false,
    };
    let values = requirement.values.clone().unwrap_or_default();
    Requirement::new(&requirement.key, operator, values).is_ok_and(|requirement| requirement.matches(value))
}

/// A term without requirements matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let field = |key: &str| (key == "metadata.name").then_some(node.name.as_str());
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|r| satisfies(r, node.labels.get(&r.key).map(String::as_str)))
        && fields.iter().all(|r| {
            // The key is a field's path, not a label; only the values matter to the comparison.
            field(&r.key).is_some_and(|name| match r.operator.as_str() {
                "In" => r.values.iter().flatten().any(|value| value == name),
                "NotIn" => r.values.iter().flatten().all(|value| value != name),
                _ => false,
            })
        })
}

fn selected(selector: &BTreeMap<String, String>, node: &NodeInfo) -> bool {
    selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
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

/// Whether the pod says nothing about its nodes' labels.
pub(super) fn is_indifferent(pod: &PodInfo) -> bool {
    pod.node_selector.is_empty() && required(pod).is_none()
}

/// Whether node selector and required affinity let the pod onto the node.
pub(super) fn allows(pod: &PodInfo, node: &NodeInfo) -> bool {
    selected(&pod.node_selector, node)
        && required(pod).is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, node)))
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
            (None, true) => Scope::Skip,
            (None, false) => Scope::All,
            (Some(required), _) => named(required).map_or(Scope::All, Scope::Nodes),
        })
    }

    fn filter(&self, pod: &PodInfo, _snapshot: &Snapshot, candidates: &mut Candidates<'_>, _state: &mut PluginState) {
        let why = "node(s) didn't match Pod's node affinity/selector";
        candidates.check(|node| if allows(pod, node) { Ok(()) } else { Err(Rejection::unresolvable(why)) });
    }

    fn score(&self, pod: &PodInfo, _snapshot: &Snapshot, nodes: &[Arc<NodeInfo>], _state: &mut PluginState) -> Option<Vec<i64>> {
        let affinity = pod.affinity.as_ref()?.node_affinity.as_ref()?;
        let preferred = affinity.preferred_during_scheduling_ignored_during_execution.as_ref()?;
        let score = |node: &Arc<NodeInfo>| {
            preferred.iter().filter(|term| term_matches(&term.preference, node)).map(|term| i64::from(term.weight)).sum()
        };
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
            assert_eq!(term_matches(&term, &node), expected, "{term:?}");
        }
    }
}
