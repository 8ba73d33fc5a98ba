//! Which pods a DaemonSet needs and which have to go. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::DaemonSetStatus;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::nodes::Fit;
use super::view::{DsView, Update};
use crate::pod_view::PodView;
use crate::revisions::REVISION_LABEL;

/// A pod that failed is replaced when it is so old, so that one which fails at once does not fail all the time.
const FAILED_STAYS: SignedDuration = SignedDuration::from_secs(10);

pub(super) type Nodes = BTreeMap<String, Fit>;

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The nodes that get a new pod.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<PodView>>,
    /// When to look again, though nothing changes until then.
    pub(super) again: Option<Duration>,
}

/// The pods on (or meant for) one node.
#[derive(Default)]
struct Place {
    /// Neither finished nor on their way out, the oldest first.
    running: Vec<Arc<PodView>>,
    finished: Vec<Arc<PodView>>,
    leaving: bool,
}

pub(super) struct Situation<'a> {
    pub(super) set: &'a DsView,
    pub(super) nodes: &'a Nodes,
    /// The hash of the present template.
    pub(super) hash: &'a str,
    pub(super) now: Timestamp,
    places: BTreeMap<String, Place>,
}

impl<'a> Situation<'a> {
    pub(super) fn new(set: &'a DsView, nodes: &'a Nodes, pods: &[Arc<PodView>], hash: &'a str, now: Timestamp) -> Self {
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for pod in pods {
            let place = places.entry(pod.place().to_owned()).or_default();
            match (pod.terminating, pod.is_finished()) {
                (true, _) => place.leaving = true,
                (false, true) => place.finished.push(pod.clone()),
                (false, false) => place.running.push(pod.clone()),
            }
        }
        places.values_mut().for_each(|place| place.running.sort_by_key(|pod| (pod.created, pod.key.clone())));
        Self { set, nodes, hash, now, places }
    }

    fn is_new(&self, pod: &PodView) -> bool {
        pod.labels.get(REVISION_LABEL).is_some_and(|hash| hash == self.hash)
    }

    fn is_available(&self, pod: &PodView) -> bool {
        pod.available_at(self.set.min_ready_seconds).is_some_and(|at| at <= self.now)
    }

    fn wanted(&self) -> impl Iterator<Item = (&String, Option<&Place>)> {
        self.nodes.iter().filter(|(_, fit)| **fit == Fit::Run).map(|(node, _)| (node, self.places.get(node)))
    }

    pub(super) fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let surge = self.surge();
        for (node, place) in &self.places {
            match self.nodes.get(node) {
                // A pod of a node that is gone is collected as any other; one that still waits for it is nobody else's.
                None => plan.delete.extend(place.running.iter().filter(|pod| pod.node.is_empty()).cloned()),
                Some(Fit::Not) => plan.delete.extend(place.running.iter().chain(&place.finished).cloned()),
                Some(Fit::Keep | Fit::Run) => self.tidy(place, surge > 0, &mut plan),
            }
        }
        for (node, place) in self.wanted() {
            if place.is_none_or(|place| place.running.is_empty() && place.finished.is_empty() && !place.leaving) {
                plan.create.push(node.clone());
            }
        }
        match self.set.update {
            Update::OnDelete => {}
            Update::Rolling { .. } if surge > 0 => self.surge_over(surge, &mut plan),
            Update::Rolling { ref max_unavailable, .. } => self.roll(scaled(max_unavailable, self.wanted().count()), &mut plan),
        }
        plan
    }

    /// Removes what failed, and all but the oldest where there are several; while surging, one of each template.
    fn tidy(&self, place: &Place, surges: bool, plan: &mut Plan) {
        for pod in &place.finished {
            let age = pod.created.map_or(FAILED_STAYS, |created| self.now.duration_since(created));
            match Duration::try_from(FAILED_STAYS - age) {
                Ok(left) if !left.is_zero() => plan.again = plan.again.into_iter().chain([left]).min(),
                _ => plan.delete.push(pod.clone()),
            }
        }
        let mut kept = [false, false];
        for pod in &place.running {
            let kind = usize::from(surges && self.is_new(pod));
            if std::mem::replace(&mut kept[kind], true) {
                plan.delete.push(pod.clone());
            }
        }
    }

    fn surge(&self) -> usize {
        match &self.set.update {
            Update::OnDelete => 0,
            Update::Rolling { max_surge, .. } => scaled(max_surge, self.wanted().count()),
        }
    }

    /// Deletes pods of former templates, as long as no more than `most` nodes are without an available pod.
    fn roll(&self, most: usize, plan: &mut Plan) {
        let (mut unavailable, mut available) = (0, Vec::new());
        for (_, place) in self.wanted() {
            match place.and_then(|place| place.running.first()) {
                None => unavailable += 1,
                Some(pod) if !self.is_available(pod) => {
                    unavailable += 1;
                    if !self.is_new(pod) {
                        plan.delete.push(pod.clone());
                    }
                }
                Some(pod) if !self.is_new(pod) => available.push(pod.clone()),
                Some(_) => {}
            }
        }
        plan.delete.extend(available.into_iter().take(most.saturating_sub(unavailable)));
    }

    /// Starts new pods beside those of former templates, on no more than `most` nodes at a time, and deletes the former once
    /// the new are available.
    fn surge_over(&self, most: usize, plan: &mut Plan) {
        let (mut surging, mut candidates) = (0, Vec::new());
        for (node, place) in self.wanted() {
            let Some(place) = place else { continue };
            let new = place.running.iter().find(|pod| self.is_new(pod));
            let Some(old) = place.running.iter().find(|pod| !self.is_new(pod)) else { continue };
            match new {
                Some(new) if self.is_available(new) => plan.delete.push(old.clone()),
                Some(_) => surging += 1,
                None if !self.is_available(old) => plan.create.push(node.clone()),
                None => candidates.push(node.clone()),
            }
        }
        plan.create.extend(candidates.into_iter().take(most.saturating_sub(surging)));
    }

    pub(super) fn status(&self, collisions: Option<i32>) -> DaemonSetStatus {
        let mut counts = [0_i32; 6];
        let [desired, current, ready, updated, available, misscheduled] = &mut counts;
        for (node, fit) in self.nodes {
            let running = self.places.get(node).map_or(&[][..], |place| place.running.as_slice());
            if *fit != Fit::Run {
                *misscheduled += i32::from(!running.is_empty());
                continue;
            }
            *desired += 1;
            *current += i32::from(!running.is_empty());
            *ready += i32::from(running.iter().any(|pod| pod.ready));
            *updated += i32::from(running.iter().any(|pod| self.is_new(pod)));
            *available += i32::from(running.iter().any(|pod| self.is_available(pod)));
        }
        let non_zero = |number: i32| (number != 0).then_some(number);
        DaemonSetStatus {
            desired_number_scheduled: counts[0],
            current_number_scheduled: counts[1],
            number_ready: counts[2],
            updated_number_scheduled: non_zero(counts[3]),
            number_available: non_zero(counts[4]),
            number_unavailable: non_zero(counts[0] - counts[4]),
            number_misscheduled: counts[5],
            observed_generation: Some(self.set.owner.generation),
            collision_count: collisions,
            conditions: self.set.status.conditions.clone(),
        }
    }

    /// How long until the next ready pod becomes available.
    pub(super) fn next_available(&self) -> Option<Duration> {
        let running = self.places.values().flat_map(|place| &place.running);
        let ahead = running.filter_map(|pod| pod.available_at(self.set.min_ready_seconds)).filter(|at| *at > self.now).min()?;
        Duration::try_from(ahead.duration_since(self.now)).ok()
    }
}

/// A number, or a share of `of` rounded up.
fn scaled(value: &IntOrString, of: usize) -> usize {
    match value {
        IntOrString::Int(number) => usize::try_from(*number).unwrap_or(0),
        IntOrString::String(text) => {
            let percent: usize = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
            percent.saturating_mul(of).div_ceil(100)
        }
    }
}

#[cfg(test)]
mod tests {
    use mizzen_api::{Object, ObjectRef};
    use serde_json::{Value, json};

    use super::*;

    fn set(strategy: Value) -> DsView {
        let document = json!({
            "metadata": {"name": "d", "namespace": "default", "uid": "u", "generation": 3, "resourceVersion": "1"},
            "spec": {"updateStrategy": strategy, "selector": {"matchLabels": {"app": "d"}}, "template": {"spec": {"containers": []}}},
        });
        DsView::of(&Arc::new(Object::new(document.to_string().into_bytes(), 1))).expect("decodes")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    /// A pod on a node, of a template, available or not.
    fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Arc<PodView> {
        Arc::new(PodView {
            key: ObjectRef::new("default", name).into(),
            node: node.to_owned(),
            phase: "Running".to_owned(),
            created: Some(at(0)),
            ready,
            ready_since: ready.then(|| at(0)),
            labels: Arc::new([(REVISION_LABEL.to_owned(), hash.to_owned())].into()),
            ..PodView::default()
        })
    }

    fn planned(strategy: Value, nodes: &[(&str, Fit)], pods: &[Arc<PodView>]) -> (Vec<String>, Vec<String>) {
        let (set, nodes) = (set(strategy), nodes.iter().map(|(name, fit)| ((*name).to_owned(), *fit)).collect());
        let plan = Situation::new(&set, &nodes, pods, "new", at(100)).plan();
        (plan.create, plan.delete.iter().map(|pod| pod.key.name.clone()).collect())
    }

    const RUN: [(&str, Fit); 3] = [("n1", Fit::Run), ("n2", Fit::Run), ("n3", Fit::Run)];

    fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).into()
    }

    #[test]
    fn each_node_that_fits_gets_one_pod_and_the_others_none() {
        let nodes = [("n1", Fit::Run), ("n2", Fit::Run), ("n3", Fit::Keep), ("n4", Fit::Not)];
        let mut waiting = PodView::clone(&pod("waits", "", "new", false));
        waiting.intended_node = "gone".to_owned();
        let pods = [
            pod("a", "n1", "new", true),
            pod("b", "n1", "new", true),
            pod("stays", "n3", "new", true),
            pod("leaves", "n4", "new", true),
            Arc::new(waiting),
        ];
        assert_eq!(planned(json!({}), &nodes, &pods), (names(["n2"]), names(["waits", "b", "leaves"])));
    }

    #[test]
    fn a_failed_pod_goes_before_another_comes() {
        let mut failed = PodView::clone(&pod("failed", "n1", "new", false));
        failed.phase = "Failed".to_owned();
        assert_eq!(planned(json!({}), &RUN[..1], &[Arc::new(failed)]), (vec![], names(["failed"])));
    }

    #[test]
    fn an_update_replaces_as_many_pods_at_a_time_as_may_be_unavailable() {
        let old = [pod("a", "n1", "old", true), pod("b", "n2", "old", true), pod("c", "n3", "old", true)];
        let rolling = |most: Value| json!({"rollingUpdate": {"maxUnavailable": most}});
        assert_eq!(planned(json!({}), &RUN, &old), (vec![], names(["a"])));
        assert_eq!(planned(rolling(json!("50%")), &RUN, &old), (vec![], names(["a", "b"])));
        assert_eq!(planned(json!({"type": "OnDelete"}), &RUN, &old), (vec![], vec![]));
        let starting = [pod("a", "n1", "new", false), old[1].clone(), old[2].clone()];
        assert_eq!(planned(json!({}), &RUN, &starting), (vec![], vec![]));
        let broken = [pod("a", "n1", "new", false), pod("b", "n2", "old", false), old[2].clone()];
        assert_eq!(planned(json!({}), &RUN, &broken), (vec![], names(["b"])));
    }

    #[test]
    fn a_surging_update_starts_the_new_pod_first() {
        let surging = || json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        let old = [pod("a", "n1", "old", true), pod("b", "n2", "old", true), pod("c", "n3", "old", true)];
        assert_eq!(planned(surging(), &RUN, &old), (names(["n1"]), vec![]));
        let with = |new| [old.to_vec(), vec![new]].concat();
        assert_eq!(planned(surging(), &RUN, &with(pod("new", "n1", "new", false))), (vec![], vec![]));
        assert_eq!(planned(surging(), &RUN, &with(pod("new", "n1", "new", true))), (names(["n2"]), names(["a"])));
    }

    #[test]
    fn the_status_counts_nodes() {
        let (set, nodes) = (set(json!({})), [("n1", Fit::Run), ("n2", Fit::Run), ("n3", Fit::Not)]);
        let nodes = nodes.into_iter().map(|(name, fit)| (name.to_owned(), fit)).collect();
        let pods = [pod("a", "n1", "new", true), pod("b", "n2", "old", false), pod("c", "n3", "new", true)];
        let status = Situation::new(&set, &nodes, &pods, "new", at(100)).status(None);
        assert_eq!((status.desired_number_scheduled, status.current_number_scheduled, status.number_ready), (2, 2, 1));
        assert_eq!(
            (status.updated_number_scheduled, status.number_available, status.number_unavailable),
            (Some(1), Some(1), Some(1))
        );
        assert_eq!((status.number_misscheduled, status.observed_generation), (1, Some(3)));
    }
}
