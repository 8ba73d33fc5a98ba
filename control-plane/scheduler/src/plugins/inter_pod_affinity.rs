//! InterPodAffinity: pods that want to be with other pods, or away from them.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::framework::{Candidates, MAX_SCORE, Plugin, PluginState, Point, Points, Rejection, Scope};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::relations::{Relations, Term};
use crate::snapshot::Snapshot;

/// `InterPodAffinityArgs`.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Args {
    /// What it is worth to be where a pod that is there requires it to be.
    hard_pod_affinity_weight: i64,
    /// Pods that prefer nothing are not drawn by what others prefer.
    ignore_preferred_terms_of_existing_pods: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self { hard_pod_affinity_weight: 1, ignore_preferred_terms_of_existing_pods: false }
    }
}

#[derive(Default)]
pub(super) struct InterPodAffinity(Args);

impl InterPodAffinity {
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) fn new(args: Args) -> Result<Self, String> {
        match args.hard_pod_affinity_weight {
            0..=100 => Ok(Self(args)),
            weight => Err(format!("args: hardPodAffinityWeight {weight} is not between 0 and 100")),
        }
    }
}

/// Something by topology domain: by the key of a label of nodes, then by its value.
type ByDomain = HashMap<String, HashMap<String, i64>>;

fn add(to: &mut ByDomain, (key, value): (&str, &str), amount: i64) {
    if let Some(sum) = to.get_mut(key).and_then(|values| values.get_mut(value)) {
        *sum += amount;
    } else {
        to.entry(key.to_owned()).or_default().insert(value.to_owned(), amount);
    }
}

/// How many pods each domain has. A trial's copy shares what was counted, and has its few changes beside it.
#[derive(Clone, Default)]
struct Counts {
    counted: Arc<ByDomain>,
    changes: ByDomain,
    all: i64,
}

impl Counts {
    fn change(&mut self, domain: (&str, &str), by: i64) {
        self.all += by;
        add(Arc::get_mut(&mut self.counted).unwrap_or(&mut self.changes), domain, by);
    }

    fn has(&self, (key, value): (&str, &str)) -> bool {
        let of = |counts: &ByDomain| counts.get(key).and_then(|values| values.get(value)).copied().unwrap_or(0);
        of(&self.counted) + of(&self.changes) > 0
    }

    /// Whether one of the domains that a node is in has pods.
    fn is_around(&self, node: &NodeInfo) -> bool {
        let mut keys = self.counted.keys().chain(self.changes.keys());
        keys.any(|key| node.labels.get(key).is_some_and(|value| self.has((key, value))))
    }
}

/// What keeps the pod off nodes, or lets it there.
#[derive(Clone, Default)]
struct Surroundings {
    own: Arc<Relations>,
    /// Pods that match all wanted terms.
    near: Counts,
    /// Pods that match an unwanted term.
    far: Counts,
    /// Pods that are there and do not want this one.
    kept_off: Counts,
    /// The first of a group that wants to be with its own kind may go anywhere.
    wants_its_kind: bool,
}

impl Surroundings {
    fn of<'a>(
        pod: &PodInfo,
        all: impl Iterator<Item = &'a Arc<NodeInfo>>,
        social: impl Iterator<Item = &'a Arc<NodeInfo>>,
    ) -> Self {
        let own = pod.relations.clone().unwrap_or_default();
        let wants_its_kind = own.wanted.iter().all(|term| term.matches(pod));
        let mut surroundings = Self { own, wants_its_kind, ..Self::default() };
        if !surroundings.own.wanted.is_empty() || !surroundings.own.unwanted.is_empty() {
            all.for_each(|node| node.pods.iter().for_each(|other| surroundings.look_at(other, node, 1)));
        }
        social.for_each(|node| node.social.iter().for_each(|other| surroundings.hear(other, pod, node, 1)));
        surroundings
    }

    /// What the pod thinks of another one.
    fn look_at(&mut self, other: &PodInfo, node: &NodeInfo, by: i64) {
        let own = self.own.clone();
        if !own.wanted.is_empty() && own.wanted.iter().all(|term| term.matches(other)) {
            own.wanted.iter().filter_map(|term| term.domain(node)).for_each(|domain| self.near.change(domain, by));
        }
        let unwanted = own.unwanted.iter().filter(|term| term.matches(other));
        unwanted.filter_map(|term| term.domain(node)).for_each(|domain| self.far.change(domain, by));
    }

    /// What another one thinks of the pod.
    fn hear(&mut self, other: &PodInfo, pod: &PodInfo, node: &NodeInfo, by: i64) {
        let theirs = other.relations.iter().flat_map(|relations| &relations.unwanted).filter(|term| term.matches(pod));
        theirs.filter_map(|term| term.domain(node)).for_each(|domain| self.kept_off.change(domain, by));
    }

    fn verdict(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let is_first = self.wants_its_kind && self.near.all == 0;
        let is_near = |term: &Term| term.domain(node).is_some_and(|domain| is_first || self.near.has(domain));
        if !self.own.wanted.iter().all(is_near) {
            return Err(Rejection::unresolvable("node(s) didn't match pod affinity rules"));
        }
        let mut domains = self.own.unwanted.iter().filter_map(|term| term.domain(node));
        if domains.any(|domain| self.far.has(domain)) {
            return Err(Rejection::new("node(s) didn't match pod anti-affinity rules"));
        }
        if self.kept_off.is_around(node) {
            return Err(Rejection::new("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }
}

/// Points by domain: what the pod prefers, and what pods that are there prefer about it.
#[derive(Clone, Default)]
struct Attraction(ByDomain);

impl Attraction {
    fn of<'a>(
        args: &Args,
        pod: &PodInfo,
        all: impl Iterator<Item = &'a Arc<NodeInfo>>,
        social: impl Iterator<Item = &'a Arc<NodeInfo>>,
    ) -> Self {
        let mut points = Self::default();
        let mine = pod.relations.as_ref().map(|relations| relations.preferred.as_slice()).unwrap_or_default();
        if mine.is_empty() && args.ignore_preferred_terms_of_existing_pods {
            return points;
        }
        if !mine.is_empty() {
            for node in all {
                let matching = |other| mine.iter().filter(|term| term.matches(other)).collect::<Vec<_>>();
                node.pods.iter().flat_map(|other| matching(other)).for_each(|term| points.draw(term, node, term.weight));
            }
        }
        for node in social {
            for theirs in node.social.iter().filter_map(|other| other.relations.as_deref()) {
                let preferred = theirs.preferred.iter().map(|term| (term, term.weight));
                let terms = preferred.chain(theirs.wanted.iter().map(|term| (term, args.hard_pod_affinity_weight)));
                terms.filter(|(term, _)| term.matches(pod)).for_each(|(term, weight)| points.draw(term, node, weight));
            }
        }
        points
    }

    fn draw(&mut self, term: &Term, node: &NodeInfo, weight: i64) {
        if let Some(domain) = term.domain(node) {
            add(&mut self.0, domain, weight);
        }
    }
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score])
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_filter(&self, pod: &PodInfo, snapshot: &Snapshot, state: &mut PluginState) -> Result<Scope, Rejection> {
        let states = pod.relations.as_ref().is_some_and(|own| !own.wanted.is_empty() || !own.unwanted.is_empty());
        let surroundings = Surroundings::of(pod, snapshot.nodes.iter(), snapshot.social());
        if !states && surroundings.kept_off.all == 0 {
            return Ok(Scope::Skip);
        }
        state.set(surroundings);
        Ok(Scope::All)
    }

    fn pod_added(&self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, state: &mut PluginState) {
        if let Some(surroundings) = state.get_mut::<Surroundings>() {
            surroundings.look_at(other, node, 1);
            surroundings.hear(other, pod, node, 1);
        }
    }

    fn pod_removed(&self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, state: &mut PluginState) {
        if let Some(surroundings) = state.get_mut::<Surroundings>() {
            surroundings.look_at(other, node, -1);
            surroundings.hear(other, pod, node, -1);
        }
    }

    fn filter(&self, _pod: &PodInfo, _snapshot: &Snapshot, candidates: &mut Candidates<'_>, state: &mut PluginState) {
        if let Some(surroundings) = state.get::<Surroundings>() {
            candidates.check(|node| surroundings.verdict(node));
        }
    }

    fn pre_score(&self, pod: &PodInfo, _feasible: &[Arc<NodeInfo>], snapshot: &Snapshot, state: &mut PluginState) {
        state.set(Attraction::of(&self.0, pod, snapshot.nodes.iter(), snapshot.social()));
    }

    fn score(&self, _pod: &PodInfo, _snapshot: &Snapshot, nodes: &[Arc<NodeInfo>], state: &mut PluginState) -> Option<Vec<i64>> {
        let Attraction(points) = state.get()?;
        if points.is_empty() {
            return None;
        }
        let of = |node: &Arc<NodeInfo>| points.iter().filter_map(|(key, points)| points.get(node.labels.get(key)?)).sum();
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

    use k8s_openapi::api::core::v1::{Affinity, PodAffinity, PodAffinityTerm, PodAntiAffinity};
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
        let relations = Relations::of(&affinity, "", &labels(app)).map(Arc::new);
        PodInfo { uid: uid.into(), labels: labels(app).into(), affinity: Some(affinity), relations, ..PodInfo::default() }
    }

    fn feasible(waiting: &PodInfo, placed: &[(&str, PodInfo)]) -> Vec<&'static str> {
        let nodes = ["n1", "n2"].map(|name| {
            let mut node = NodeInfo {
                name: name.into(),
                labels: Arc::new(BTreeMap::from([("host".into(), name.into())])),
                ..NodeInfo::default()
            };
            placed.iter().filter(|(on, _)| *on == name).for_each(|(_, pod)| node.add_pod(Arc::new(pod.clone())));
            Arc::new(node)
        });
        let nodes: &[Arc<NodeInfo>] = &nodes;
        let around = Surroundings::of(waiting, nodes.iter(), nodes.iter());
        ["n1", "n2"].into_iter().zip(nodes).filter(|(_, node)| around.verdict(node).is_ok()).map(|(name, _)| name).collect()
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

    #[test]
    fn a_trial_counts_for_itself() {
        let mut counts = Counts::default();
        counts.change(("zone", "a"), 1);
        let mut trial = counts.clone();
        trial.change(("zone", "a"), -1);
        trial.change(("host", "n1"), 1);
        assert!(counts.has(("zone", "a")) && !counts.has(("host", "n1")));
        assert!(!trial.has(("zone", "a")) && trial.has(("host", "n1")));
        assert_eq!((counts.all, trial.all), (1, 1));
        let node = |key: &str, value: &str| {
            let labels = Arc::new(BTreeMap::from([(key.to_owned(), value.to_owned())]));
            NodeInfo { labels, ..NodeInfo::default() }
        };
        assert!(counts.is_around(&node("zone", "a")) && !trial.is_around(&node("zone", "a")));
        assert!(trial.is_around(&node("host", "n1")) && !trial.is_around(&node("host", "n2")));
        trial.change(("zone", "a"), 1);
        assert!(trial.has(("zone", "a")), "it is back");
    }
}
