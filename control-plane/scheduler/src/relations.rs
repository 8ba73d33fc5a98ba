//! What a pod states about other pods (inter-pod affinity), with its selectors made ready once.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::core::v1::{Affinity, PodAffinityTerm, WeightedPodAffinityTerm};
use mizzen_api::selector::{LabelSelector, Operator, Requirement};

use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// What one pod states.
#[derive(Clone, Debug, Default)]
pub struct Relations {
    /// Required to be near.
    pub wanted: Vec<Term>,
    /// Required to be away.
    pub unwanted: Vec<Term>,
    /// With weights, below 0 for those to be away from.
    pub preferred: Vec<Term>,
}

#[derive(Clone, Debug)]
pub struct Term {
    pub key: String,
    selector: LabelSelector,
    /// Empty with `all_namespaces` unset means the pod's own, already filled in.
    namespaces: HashSet<String>,
    all_namespaces: bool,
    pub weight: i64,
}

impl Term {
    fn new(term: &PodAffinityTerm, weight: i64, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let document = term.label_selector.as_ref().and_then(|selector| serde_json::to_value(selector).ok());
        let mut selector = LabelSelector::from_document(document.as_ref()).unwrap_or_else(|_| LabelSelector::nothing());
        let narrowed = |keys: &Option<Vec<String>>, operator: Operator| {
            let present = keys.iter().flatten().filter_map(|key| Some((key.clone(), labels.get(key)?.clone())));
            present.filter_map(|(key, value)| Requirement::new(&key, operator, [value]).ok()).collect::<Vec<_>>()
        };
        let mut more = narrowed(&term.match_label_keys, Operator::In);
        more.extend(narrowed(&term.mismatch_label_keys, Operator::NotIn));
        if !more.is_empty() && document.is_some() {
            selector = LabelSelector::new(selector.requirements().iter().cloned().chain(more).collect());
        }
        let mut namespaces: HashSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        let all_namespaces = term.namespace_selector.as_ref().is_some_and(|selector| {
            selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
                && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
        });
        // A namespace's name is the one label of it that is known without reading namespaces.
        for (key, value) in term.namespace_selector.iter().flat_map(|selector| selector.match_labels.iter().flatten()) {
            if key == "kubernetes.io/metadata.name" {
                namespaces.insert(value.clone());
            }
        }
        Self { key: term.topology_key.clone(), selector, namespaces, all_namespaces, weight }
    }

    pub fn matches(&self, pod: &PodInfo) -> bool {
        (self.all_namespaces || self.namespaces.contains(&pod.key.namespace)) && self.selector.matches(&pod.labels)
    }

    /// The domain that a node is in, as the key and the value of its label; `None` without it.
    pub fn domain<'a>(&'a self, node: &'a NodeInfo) -> Option<(&'a str, &'a str)> {
        Some((&self.key, node.labels.get(&self.key)?))
    }
}

fn terms(terms: Option<&Vec<PodAffinityTerm>>, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<Term> {
    terms.into_iter().flatten().map(|term| Term::new(term, 1, namespace, labels)).collect()
}

fn preferences<'a>(
    terms: Option<&'a Vec<WeightedPodAffinityTerm>>,
    sign: i64,
    namespace: &'a str,
    labels: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = Term> + 'a {
    let term = move |term: &WeightedPodAffinityTerm| {
        Term::new(&term.pod_affinity_term, sign * i64::from(term.weight), namespace, labels)
    };
    terms.into_iter().flatten().map(term)
}

impl Relations {
    /// `None` when nothing is stated about other pods.
    pub fn of(affinity: &Affinity, namespace: &str, labels: &BTreeMap<String, String>) -> Option<Self> {
        let (near, far) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
        if near.is_none() && far.is_none() {
            return None;
        }
        let wanted = near.and_then(|near| near.required_during_scheduling_ignored_during_execution.as_ref());
        let unwanted = far.and_then(|far| far.required_during_scheduling_ignored_during_execution.as_ref());
        let liked = near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_ref());
        let disliked = far.and_then(|far| far.preferred_during_scheduling_ignored_during_execution.as_ref());
        let preferred = preferences(liked, 1, namespace, labels).chain(preferences(disliked, -1, namespace, labels));
        Some(Self {
            wanted: terms(wanted, namespace, labels),
            unwanted: terms(unwanted, namespace, labels),
            preferred: preferred.collect(),
        })
    }
}
