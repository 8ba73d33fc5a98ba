//! The decisions of the ReplicaSet controller, with no effects.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::effects::Failure;
use super::ranking;
use super::view::RsView;
use crate::pod_view::PodView;
use crate::time::whole_seconds;

/// At most so many pods are created or deleted in one go.
const BURST: usize = 500;

#[derive(Debug)]
pub(super) enum Decision {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<PodView>>),
}

pub(super) fn replicas(set: &RsView, active: &[Arc<PodView>], ranks: &[usize], now: Timestamp) -> Decision {
    let wanted = usize::try_from(set.replicas).unwrap_or(0);
    if active.len() < wanted {
        Decision::Create((wanted - active.len()).min(BURST))
    } else if active.len() > wanted {
        Decision::Delete(ranking::first_to_go(active, ranks, (active.len() - wanted).min(BURST), now))
    } else {
        Decision::Nothing
    }
}

pub(super) fn status(set: &RsView, active: &[Arc<PodView>], failure: Option<&Failure>, now: Timestamp) -> ReplicaSetStatus {
    let count =
        |counts: &dyn Fn(&PodView) -> bool| i32::try_from(active.iter().filter(|pod| counts(pod)).count()).unwrap_or(i32::MAX);
    let non_zero = |number: i32| (number > 0).then_some(number);
    let template_labels = set.owner.template.pointer("/metadata/labels").and_then(serde_json::Value::as_object);
    let has_template_labels = |pod: &PodView| {
        template_labels.into_iter().flatten().all(|(key, value)| pod.labels.get(key).map(String::as_str) == value.as_str())
    };
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: non_zero(count(&has_template_labels)),
        ready_replicas: non_zero(count(&|pod| pod.ready)),
        available_replicas: non_zero(count(&|pod| pod.available_at(set.min_ready_seconds).is_some_and(|at| at <= now))),
        observed_generation: Some(set.owner.generation),
        conditions: conditions(set, failure, now),
        terminating_replicas: None,
    }
}

/// `ReplicaFailure` stands while pods cannot be created or deleted.
fn conditions(set: &RsView, failure: Option<&Failure>, now: Timestamp) -> Option<Vec<ReplicaSetCondition>> {
    let present = set.status.conditions.iter().flatten();
    let failed = present.clone().find(|condition| condition.type_ == "ReplicaFailure");
    let mut conditions: Vec<_> = present.filter(|condition| condition.type_ != "ReplicaFailure").cloned().collect();
    if let Some(failure) = failure {
        conditions.push(failed.cloned().unwrap_or_else(|| ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(failure.reason.to_owned()),
            message: Some(failure.error.to_string()),
            last_transition_time: Some(Time(whole_seconds(now))),
        }));
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// How long until the next ready pod becomes available.
pub(super) fn next_available(set: &RsView, active: &[Arc<PodView>], now: Timestamp) -> Option<Duration> {
    let ahead = active.iter().filter_map(|pod| pod.available_at(set.min_ready_seconds)).filter(|at| *at > now).min()?;
    Duration::try_from(ahead.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(replicas: i32, min_ready_seconds: i32) -> RsView {
        let document = json!({
            "metadata": {"name": "web", "namespace": "default", "uid": "u", "generation": 3, "resourceVersion": "1"},
            "spec": {"replicas": replicas, "minReadySeconds": min_ready_seconds, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web", "tier": "front"}}}},
        });
        RsView::of(&Arc::new(mizzen_api::Object::new(document.to_string().into_bytes(), 1))).expect("decodes")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn pod(ready_since: Option<i64>, labels: &[(&str, &str)]) -> Arc<PodView> {
        Arc::new(PodView {
            phase: "Running".into(),
            ready: ready_since.is_some(),
            ready_since: ready_since.map(at),
            labels: Arc::new(labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()),
            ..PodView::default()
        })
    }

    #[test]
    fn it_creates_what_is_missing_and_deletes_what_is_too_much() {
        let two = vec![pod(None, &[]), pod(None, &[])];
        let decided = |wanted| match replicas(&set(wanted, 0), &two, &[0, 0], at(0)) {
            Decision::Nothing => 0,
            Decision::Create(count) => i64::try_from(count).expect("small"),
            Decision::Delete(pods) => -i64::try_from(pods.len()).expect("small"),
        };
        assert_eq!([0, 1, 2, 5, 10_000].map(decided), [-2, -1, 0, 3, 500]);
    }

    #[test]
    fn a_pod_is_available_once_it_was_ready_long_enough() {
        let both = [("app", "web"), ("tier", "front")];
        let pods = vec![pod(Some(100), &both), pod(Some(95), &both), pod(None, &[("app", "web")])];
        let now = at(105);
        let status = status(&set(3, 10), &pods, None, now);
        assert_eq!((status.replicas, status.ready_replicas, status.available_replicas), (3, Some(2), Some(1)));
        assert_eq!((status.fully_labeled_replicas, status.observed_generation), (Some(2), Some(3)));
        assert_eq!(next_available(&set(3, 10), &pods, now), Some(Duration::from_secs(5)));
        assert_eq!(next_available(&set(3, 0), &pods, now), None);
    }
}
