//! InterPodAffinity: pods that want to be with other pods, or away from them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PodAffinityTerm, WeightedPodAffinityTerm};
use mizzen_api::selector::{LabelSelector, Operator, Requirement};

use crate::framework::{Candidates, ClusterEvent, CycleState, MAX_SCORE, Plugin, Rejection};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(super) struct InterPodAffinity;

const NAME: &str = "InterPodAffinity";

/// A topology domain: label key and value.
type Domain = (String, String);

struct Term {
    key: String,
    selector: LabelSelector,
    /// Empty with `all_namespaces` unset means the pod's own, already filled in.
    namespaces: HashSet<String>,
    all_namespaces: bool,
    weight: i64,
}

impl Term {
    fn new(term: &PodAffinityTerm, weight: i64, owner: &PodInfo) -> Self {
        let document = term.label_selector.as_ref().and_then(|selector| serde_json::to_value(selector).ok());
        let mut selector = LabelSelector::from_document(document.as_ref()).unwrap_or_else(|_| LabelSelector::nothing());
        let narrowed = |keys: &Option<Vec<String>>, operator: Operator| {
            let present = keys.iter().flatten().filter_map(|key| Some((key.clone(), owner.labels.get(key)?.clone())));
            present.filter_map(|(key, value)| Requirement::new(&key, operator, [value]).ok()).collect::<Vec<_>>()
        };
        let mut more = narrowed(&term.match_label_keys, Operator::In);
        more.extend(narrowed(&term.mismatch_label_keys, Operator::NotIn));
        if !more.is_empty() && document.is_some() {
            selector = LabelSelector::new(selector.requirements().iter().cloned().chain(more).collect());
        }
        let mut namespaces: HashSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(owner.key.namespace.clone());
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

    fn matches(&self, pod: &PodInfo) -> bool {
        (self.all_namespaces || self.namespaces.contains(&pod.key.namespace)) && self.selector.matches(&pod.labels)
    }

    fn domain(&self, node: &NodeInfo) -> Option<Domain> {
        Some((self.key.clone(), node.labels.get(&self.key)?.clone()))
    }
}

fn required(terms: Option<&Vec<PodAffinityTerm>>, owner: &PodInfo) -> Vec<Term> {
    terms.into_iter().flatten().map(|term| Term::new(term, 1, owner)).collect()
}

fn preferred(terms: Option<&Vec<WeightedPodAffinityTerm>>, sign: i64, owner: &PodInfo) -> Vec<Term> {
    terms.into_iter().flatten().map(|term| Term::new(&term.pod_affinity_term, sign * i64::from(term.weight), owner)).collect()
}

fn wanted(pod: &PodInfo) -> Vec<Term> {
    let affinity = pod.affinity.as_ref().and_then(|affinity| affinity.pod_affinity.as_ref());
    required(affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()), pod)
}

fn unwanted(pod: &PodInfo) -> Vec<Term> {
    let affinity = pod.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    required(affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()), pod)
}

fn preferences(pod: &PodInfo) -> Vec<Term> {
    let affinity = pod.affinity.as_ref();
    let near = affinity.and_then(|a| a.pod_affinity.as_ref());
    let far = affinity.and_then(|a| a.pod_anti_affinity.as_ref());
    let mut terms = preferred(near.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()), 1, pod);
    terms.extend(preferred(far.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()), -1, pod));
    terms
}

#[derive(Default)]
struct Relations {
    wanted: Vec<Term>,
    unwanted: Vec<Term>,
    /// Domains with a pod that matches all wanted terms.
    near: HashMap<Domain, usize>,
    /// Domains with a pod that matches an unwanted term.
    far: HashSet<Domain>,
    /// Domains from which a pod that is there keeps this one off.
    kept_off: HashSet<Domain>,
    /// The first of a group that wants to be with its own kind may go anywhere.
    is_first: bool,
}

fn relate(pod: &PodInfo, nodes: &[Arc<NodeInfo>]) -> Relations {
    let mut relations = Relations { wanted: wanted(pod), unwanted: unwanted(pod), ..Relations::default() };
    let looks_around = !relations.wanted.is_empty() || !relations.unwanted.is_empty();
    for node in nodes {
        for other in node.pods.values().filter(|_| looks_around) {
            if !relations.wanted.is_empty() && relations.wanted.iter().all(|term| term.matches(other)) {
                for domain in relations.wanted.iter().filter_map(|term| term.domain(node)) {
                    *relations.near.entry(domain).or_default() += 1;
                }
            }
            relations
                .far
                .extend(relations.unwanted.iter().filter(|term| term.matches(other)).filter_map(|term| term.domain(node)));
        }
        for other in node.social.values() {
            let theirs = unwanted(other);
            relations.kept_off.extend(theirs.iter().filter(|term| term.matches(pod)).filter_map(|term| term.domain(node)));
        }
    }
    relations.is_first = relations.near.is_empty() && relations.wanted.iter().all(|term| term.matches(pod));
    relations
}

fn verdict(relations: &Relations, node: &NodeInfo) -> Result<(), Rejection> {
    let near = relations
        .wanted
        .iter()
        .all(|term| term.domain(node).is_some_and(|domain| relations.is_first || relations.near.contains_key(&domain)));
    if !near {
        return Err(Rejection::unresolvable("node(s) didn't match pod affinity rules"));
    }
    let mut domains = relations.unwanted.iter().filter_map(|term| term.domain(node));
    if domains.any(|domain| relations.far.contains(&domain)) {
        return Err(Rejection::new("node(s) didn't match pod anti-affinity rules"));
    }
    let kept_off = relations.kept_off.iter().any(|(key, value)| node.labels.get(key) == Some(value));
    if kept_off {
        return Err(Rejection::new("node(s) didn't satisfy existing pods anti-affinity rules"));
    }
    Ok(())
}

/// Points by domain: what the pod prefers, and what pods that are there prefer about it.
struct Attraction(HashMap<Domain, i64>);

fn attract(pod: &PodInfo, nodes: &[Arc<NodeInfo>]) -> Attraction {
    let mine = preferences(pod);
    let mut points: HashMap<Domain, i64> = HashMap::new();
    for node in nodes {
        let mut draw = |term: &Term| {
            if let Some(domain) = term.domain(node) {
                *points.entry(domain).or_insert(0) += term.weight;
            }
        };
        for other in node.pods.values().filter(|_| !mine.is_empty()) {
            mine.iter().filter(|term| term.matches(other)).for_each(&mut draw);
        }
        for other in node.social.values() {
            let theirs: Vec<Term> = preferences(other).into_iter().chain(wanted(other)).collect();
            theirs.iter().filter(|term| term.matches(pod)).for_each(&mut draw);
        }
    }
    Attraction(points)
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn weight(&self) -> i64 {
        2
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        crate::framework::ALL_EVENTS
    }

    fn pre_filter(&self, pod: &PodInfo, snapshot: &Snapshot, state: &mut CycleState) -> Result<(), Rejection> {
        state.set(NAME, relate(pod, &snapshot.nodes));
        Ok(())
    }

    fn filter(&self, _pod: &PodInfo, candidates: &mut Candidates<'_>, state: &CycleState) {
        if let Some(relations) = state.get::<Relations>(NAME) {
            candidates.check(|node| verdict(relations, node));
        }
    }

    fn pre_score(&self, pod: &PodInfo, _feasible: &[Arc<NodeInfo>], snapshot: &Snapshot, state: &mut CycleState) {
        state.set(NAME, attract(pod, &snapshot.nodes));
    }

    fn score(&self, _pod: &PodInfo, nodes: &[Arc<NodeInfo>], state: &CycleState) -> Option<Vec<i64>> {
        let Attraction(points) = state.get(NAME)?;
        if points.is_empty() {
            return None;
        }
        let of = |node: &Arc<NodeInfo>| {
            points.iter().filter(|((key, value), _)| node.labels.get(key) == Some(value)).map(|(_, points)| points).sum()
        };
        Some(nodes.iter().map(of).collect())
    }

    fn normalize(&self, scores: &mut [i64]) {
        let (least, most) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            *score = if most == least { 0 } else { MAX_SCORE * (*score - least) / (most - least) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::{Affinity, PodAffinity, PodAntiAffinity};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorDocument;

    use super::*;

    fn labels(app: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("app".to_owned(), app.to_owned())])
    }

    fn term(app: &str) -> Vec<PodAffinityTerm> {
        let selector = SelectorDocument { match_labels: Some(labels(app)), ..SelectorDocument::default() };
        vec![PodAffinityTerm { label_selector: Some(selector), topology_key: "host".into(), ..PodAffinityTerm::default() }]
    }

    fn pod(uid: &str, app: &str, near: Option<&str>, far: Option<&str>) -> PodInfo {
        let affinity = Affinity {
            pod_affinity: near.map(|app| PodAffinity {
                required_during_scheduling_ignored_during_execution: Some(term(app)),
                ..PodAffinity::default()
            }),
            pod_anti_affinity: far.map(|app| PodAntiAffinity {
                required_during_scheduling_ignored_during_execution: Some(term(app)),
                ..PodAntiAffinity::default()
            }),
            ..Affinity::default()
        };
        PodInfo { uid: uid.into(), labels: labels(app).into(), affinity: Some(affinity), ..PodInfo::default() }
    }

    fn feasible(waiting: &PodInfo, placed: &[(&str, PodInfo)]) -> Vec<&'static str> {
        let nodes: Vec<_> = ["n1", "n2"]
            .map(|name| {
                let mut node =
                    NodeInfo { name: name.into(), labels: BTreeMap::from([("host".into(), name.into())]), ..NodeInfo::default() };
                placed.iter().filter(|(on, _)| *on == name).for_each(|(_, pod)| node.add_pod(Arc::new(pod.clone())));
                Arc::new(node)
            })
            .into();
        let relations = relate(waiting, &nodes);
        ["n1", "n2"].into_iter().zip(&nodes).filter(|(_, node)| verdict(&relations, node).is_ok()).map(|(name, _)| name).collect()
    }

    #[test]
    fn required_terms_bind_both_sides() {
        let db = pod("db", "db", None, None);
        assert_eq!(feasible(&pod("w", "web", Some("db"), None), &[("n2", db.clone())]), ["n2"]);
        assert_eq!(feasible(&pod("w", "web", None, Some("db")), &[("n2", db.clone())]), ["n1"]);
        assert_eq!(feasible(&pod("w", "web", Some("db"), None), &[]), Vec::<&str>::new());
        assert_eq!(feasible(&pod("w", "web", Some("web"), None), &[]), ["n1", "n2"], "the first of its kind");
        let shy = pod("s", "shy", None, Some("web"));
        assert_eq!(feasible(&pod("w", "web", None, None), &[("n1", shy)]), ["n2"], "it is kept off by the one there");
    }
}
