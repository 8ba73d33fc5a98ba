//! Which pods of a StatefulSet come and go next. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSetStatus;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::view::{SsView, Update};
use crate::pod_view::PodView;
use crate::revisions::REVISION_LABEL;

/// What is to be done now; the rest follows once this is seen to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Ordinals, each with whether its pod is of the former template.
    pub(super) create: Vec<(i32, bool)>,
    pub(super) delete: Vec<Arc<PodView>>,
    /// Of those deleted, the ones that failed or ended and come again.
    pub(super) failed: Vec<Arc<PodView>>,
}

pub(super) struct Situation<'a> {
    pub(super) set: &'a SsView,
    /// Names of revisions.
    pub(super) current: &'a str,
    pub(super) update: &'a str,
    pub(super) now: Timestamp,
    pods: BTreeMap<i32, Arc<PodView>>,
}

impl<'a> Situation<'a> {
    pub(super) fn new(set: &'a SsView, pods: &[Arc<PodView>], current: &'a str, update: &'a str, now: Timestamp) -> Self {
        let pods = pods.iter().filter_map(|pod| Some((set.ordinal(pod)?, pod.clone()))).collect();
        Self { set, current, update, now, pods }
    }

    fn is_wanted(&self, ordinal: i32) -> bool {
        ordinal >= self.set.first && ordinal - self.set.first < self.set.replicas
    }

    fn wanted(&self) -> impl DoubleEndedIterator<Item = i32> + use<> {
        self.set.first..self.set.first.saturating_add(self.set.replicas)
    }

    fn is_available(&self, pod: &PodView) -> bool {
        pod.available_at(self.set.min_ready_seconds).is_some_and(|at| at <= self.now)
    }

    fn is_of(&self, pod: &PodView, revision: &str) -> bool {
        pod.labels.get(REVISION_LABEL).is_some_and(|of| of == revision)
    }

    /// Whether a pod that is made now is of the former template.
    fn keeps_former(&self, ordinal: i32) -> bool {
        match self.set.update {
            Update::OnDelete => false,
            Update::Rolling { partition, .. } => ordinal - self.set.first < partition,
        }
    }

    pub(super) fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        if self.set.owner.terminating || !self.fill(&mut plan) || !self.shrink(&mut plan) {
            return plan;
        }
        if let Update::Rolling { partition, max_unavailable } = &self.set.update {
            self.roll(*partition, most(max_unavailable, self.set.replicas), &mut plan);
        }
        plan
    }

    /// Makes the pods that are missing; one after the other unless the set is parallel. Whether the next step may follow.
    fn fill(&self, plan: &mut Plan) -> bool {
        for ordinal in self.wanted() {
            let settled = match self.pods.get(&ordinal) {
                None => {
                    plan.create.push((ordinal, self.keeps_former(ordinal)));
                    false
                }
                Some(pod) if pod.terminating => false,
                Some(pod) if pod.is_finished() => {
                    plan.failed.push(pod.clone());
                    false
                }
                Some(pod) => is_ready(pod) && self.is_available(pod),
            };
            if !settled && !self.set.parallel {
                return false;
            }
        }
        plan.create.is_empty() && plan.failed.is_empty()
    }

    /// Deletes the pods beyond what is asked for, the last first; one after the other unless the set is parallel.
    fn shrink(&self, plan: &mut Plan) -> bool {
        let condemned = || self.pods.iter().filter(|(ordinal, _)| !self.is_wanted(**ordinal)).map(|(_, pod)| pod);
        let wanted = self.wanted().filter_map(|ordinal| self.pods.get(&ordinal));
        let sickest = wanted.chain(condemned()).find(|pod| !is_healthy(pod));
        for pod in condemned().rev() {
            if self.set.parallel {
                if !pod.terminating {
                    plan.delete.push(pod.clone());
                }
                continue;
            }
            // A pod that is ill is left alone, unless it is what all wait for.
            let is_sickest = sickest.is_some_and(|sickest| sickest.uid == pod.uid);
            if !pod.terminating && (is_sickest || (is_ready(pod) && self.is_available(pod))) {
                plan.delete.push(pod.clone());
            }
            return false;
        }
        plan.delete.is_empty()
    }

    /// Deletes pods of former templates, the last first, as long as no more than `most` are without health.
    fn roll(&self, partition: i32, most: usize, plan: &mut Plan) {
        let mut unhealthy = 0;
        for ordinal in self.wanted().rev().take_while(|ordinal| ordinal - self.set.first >= partition) {
            let Some(pod) = self.pods.get(&ordinal) else { continue };
            if !self.is_of(pod, self.update) && !pod.terminating {
                plan.delete.push(pod.clone());
                unhealthy += 1;
            } else if !is_healthy(pod) || !self.is_available(pod) {
                unhealthy += 1;
            }
            if unhealthy >= most {
                return;
            }
        }
    }

    /// The status, with whether the update is complete: then the update's revision is the current one.
    pub(super) fn status(&self, collisions: Option<i32>) -> StatefulSetStatus {
        let count = |counts: &dyn Fn(&PodView) -> bool| {
            i32::try_from(self.pods.values().filter(|pod| counts(pod)).count()).unwrap_or(i32::MAX)
        };
        let non_zero = |number: i32| (number != 0).then_some(number);
        let lives = |pod: &PodView| !pod.terminating && !pod.is_finished();
        let (replicas, ready) = (count(&|_| true), count(&is_ready));
        let updated = count(&|pod| lives(pod) && self.is_of(pod, self.update));
        let rolling = matches!(self.set.update, Update::Rolling { .. });
        let complete = rolling && updated == replicas && ready == replicas && replicas == self.set.replicas;
        let current = if complete { self.update } else { self.current };
        StatefulSetStatus {
            replicas,
            ready_replicas: non_zero(ready),
            available_replicas: Some(count(&|pod| is_ready(pod) && self.is_available(pod))),
            current_replicas: non_zero(count(&|pod| lives(pod) && self.is_of(pod, current))),
            updated_replicas: non_zero(updated),
            current_revision: Some(current.to_owned()),
            update_revision: Some(self.update.to_owned()),
            observed_generation: Some(self.set.owner.generation),
            collision_count: collisions,
            conditions: self.set.status.conditions.clone(),
        }
    }

    /// How long until the next ready pod becomes available.
    pub(super) fn next_available(&self) -> Option<Duration> {
        let ahead = self.pods.values().filter_map(|pod| pod.available_at(self.set.min_ready_seconds));
        Duration::try_from(ahead.filter(|at| *at > self.now).min()?.duration_since(self.now)).ok()
    }
}

fn is_ready(pod: &PodView) -> bool {
    pod.phase == "Running" && pod.ready
}

fn is_healthy(pod: &PodView) -> bool {
    is_ready(pod) && !pod.terminating
}

/// A number, or a share of `of` rounded up; at least one.
fn most(value: &IntOrString, of: i32) -> usize {
    let of = usize::try_from(of).unwrap_or(0);
    let number = match value {
        IntOrString::Int(number) => usize::try_from(*number).unwrap_or(0),
        IntOrString::String(text) => {
            let percent: usize = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
            percent.saturating_mul(of).div_ceil(100)
        }
    };
    number.max(1)
}

#[cfg(test)]
mod tests {
    use mizzen_api::{Object, ObjectRef};
    use serde_json::{Value, json};

    use super::*;

    fn set(spec: Value) -> SsView {
        let mut document = json!({
            "metadata": {"name": "db", "namespace": "default", "uid": "u", "generation": 2, "resourceVersion": "1"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "db"}}, "template": {"spec": {"containers": []}}},
        });
        for (field, value) in spec.as_object().expect("an object") {
            document["spec"][field] = value.clone();
        }
        SsView::of(&Arc::new(Object::new(document.to_string().into_bytes(), 1))).expect("decodes")
    }

    /// A pod by its ordinal, of a revision, in a state: `ready`, `ill`, `leaving` or a phase.
    fn pod(ordinal: i32, revision: &str, state: &str) -> Arc<PodView> {
        let phase = if matches!(state, "ready" | "ill" | "leaving") { "Running" } else { state };
        Arc::new(PodView {
            key: ObjectRef::new("default", format!("db-{ordinal}")).into(),
            uid: format!("uid-{ordinal}"),
            phase: phase.to_owned(),
            ready: state == "ready",
            terminating: state == "leaving",
            labels: Arc::new([(REVISION_LABEL.to_owned(), revision.to_owned())].into()),
            ..PodView::default()
        })
    }

    fn planned(spec: Value, pods: &[Arc<PodView>]) -> (Vec<(i32, bool)>, Vec<String>) {
        let set = set(spec);
        let plan = Situation::new(&set, pods, "old", "new", Timestamp::UNIX_EPOCH).plan();
        let gone = plan.delete.iter().chain(&plan.failed).map(|pod| pod.key.name.clone()).collect();
        (plan.create, gone)
    }

    #[test]
    fn pods_come_one_after_the_other_unless_the_set_is_parallel() {
        let parallel = || json!({"podManagementPolicy": "Parallel"});
        assert_eq!(planned(json!({}), &[]), (vec![(0, false)], vec![]));
        assert_eq!(planned(json!({}), &[pod(0, "new", "ill")]), (vec![], vec![]));
        assert_eq!(planned(json!({}), &[pod(0, "new", "ready")]), (vec![(1, false)], vec![]));
        assert_eq!(planned(parallel(), &[pod(0, "new", "ill")]), (vec![(1, false), (2, false)], vec![]));
        assert_eq!(planned(json!({"ordinals": {"start": 4}}), &[]), (vec![(4, false)], vec![]));
    }

    #[test]
    fn a_pod_that_failed_is_replaced() {
        let pods = [pod(0, "new", "ready"), pod(1, "new", "Failed")];
        assert_eq!(planned(json!({}), &pods), (vec![], vec!["db-1".to_owned()]));
    }

    #[test]
    fn the_last_pod_goes_first_and_none_while_one_before_it_is_ill() {
        let ready = |n| (0..n).map(|ordinal| pod(ordinal, "new", "ready")).collect::<Vec<_>>();
        assert_eq!(planned(json!({"replicas": 1}), &ready(3)), (vec![], vec!["db-2".to_owned()]));
        let mut one_ill = ready(3);
        one_ill[1] = pod(1, "new", "ill");
        assert_eq!(planned(json!({"replicas": 0}), &one_ill), (vec![], vec!["db-2".to_owned()]));
        one_ill[2] = pod(2, "new", "ill");
        assert_eq!(planned(json!({"replicas": 0}), &one_ill), (vec![], vec![]));
        assert_eq!(planned(json!({"replicas": 0}), &one_ill[..2]), (vec![], vec!["db-1".to_owned()]));
        let all = json!({"replicas": 0, "podManagementPolicy": "Parallel"});
        assert_eq!(planned(all, &one_ill).1, ["db-2", "db-1", "db-0"]);
    }

    #[test]
    fn an_update_replaces_one_pod_at_a_time_down_to_the_partition() {
        let partition = |at: i32| json!({"updateStrategy": {"rollingUpdate": {"partition": at}}});
        let old: Vec<_> = (0..3).map(|ordinal| pod(ordinal, "old", "ready")).collect();
        assert_eq!(planned(json!({}), &old), (vec![], vec!["db-2".to_owned()]));
        assert_eq!(planned(partition(3), &old), (vec![], vec![]));
        assert_eq!(planned(json!({"updateStrategy": {"type": "OnDelete"}}), &old), (vec![], vec![]));
        let next = [old[0].clone(), old[1].clone(), pod(2, "new", "ready")];
        assert_eq!(planned(json!({}), &next), (vec![], vec!["db-1".to_owned()]));
        assert_eq!(planned(partition(2), &next), (vec![], vec![]));
        assert_eq!(planned(partition(2), &old[1..]), (vec![(0, true)], vec![]));
        let two = json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}});
        assert_eq!(planned(two, &old).1, ["db-2", "db-1"]);
    }

    #[test]
    fn the_update_is_current_once_all_pods_have_it() {
        let set = set(json!({}));
        let status = |pods: &[Arc<PodView>]| Situation::new(&set, pods, "old", "new", Timestamp::UNIX_EPOCH).status(None);
        let mut pods = vec![pod(0, "old", "ready"), pod(1, "new", "ready"), pod(2, "new", "ready")];
        let under_way = status(&pods);
        assert_eq!((under_way.current_revision.as_deref(), under_way.current_replicas), (Some("old"), Some(1)));
        assert_eq!((under_way.updated_replicas, under_way.ready_replicas, under_way.replicas), (Some(2), Some(3), 3));
        pods[0] = pod(0, "new", "ready");
        let done = status(&pods);
        assert_eq!((done.current_revision.as_deref(), done.current_replicas), (Some("new"), Some(3)));
    }
}
