use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobStatus;
use mizzen_api::{Object, ObjectRef};
use serde_json::{Value, json};

use super::decide::{Plan, Wanted, plan};
use super::view::{JobView, holds};
use crate::pod_view::{JobPod, PodView};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

/// A job that began at 0; `spec` and `status` are merged into it.
fn job(spec: &Value, status: &Value) -> JobView {
    let mut document = json!({
        "metadata": {"name": "j", "namespace": "default", "uid": "u", "resourceVersion": "1"},
        "spec": {"completions": 2, "parallelism": 2, "backoffLimit": 1, "selector": {},
            "template": {"spec": {"restartPolicy": "Never"}}},
        "status": {"startTime": "1970-01-01T00:00:00Z"},
    });
    for (part, given) in [("spec", spec), ("status", status)] {
        for (field, value) in given.as_object().expect("an object") {
            document[part][field] = value.clone();
        }
    }
    JobView::of(&Arc::new(Object::new(document.to_string().into_bytes(), 1))).expect("decodes")
}

fn pod(name: &str, phase: &str, of_job: JobPod) -> Arc<PodView> {
    Arc::new(PodView {
        key: ObjectRef::new("default", name).into(),
        uid: name.to_owned(),
        phase: phase.to_owned(),
        node: "n1".to_owned(),
        job: Some(Arc::new(of_job)),
        ..PodView::default()
    })
}

fn tracked(name: &str, phase: &str) -> Arc<PodView> {
    let finished = (phase == "Failed").then(|| at(100));
    pod(name, phase, JobPod { tracked: true, finished, ..JobPod::default() })
}

fn indexed(index: i32, phase: &str) -> Arc<PodView> {
    let of_job = JobPod { tracked: true, index: Some(index), finished: Some(at(0)), ..JobPod::default() };
    pod(&format!("j-{index}"), phase, of_job)
}

fn planned(spec: &Value, status: &Value, pods: &[Arc<PodView>], second: i64) -> Plan {
    plan(&job(spec, status), pods, at(second))
}

fn names(pods: &[Arc<PodView>]) -> Vec<&str> {
    pods.iter().map(|pod| pod.key.name.as_str()).collect()
}

fn uncounted(status: &JobStatus) -> (Vec<String>, Vec<String>) {
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    (uncounted.succeeded.unwrap_or_default(), uncounted.failed.unwrap_or_default())
}

#[test]
fn as_many_pods_run_as_may_and_are_needed() {
    let none = json!({});
    assert_eq!(planned(&none, &none, &[], 0).create, [Wanted::default(); 2]);
    assert_eq!(planned(&none, &none, &[tracked("a", "Running")], 0).create.len(), 1);
    assert_eq!(planned(&none, &json!({"succeeded": 1}), &[tracked("a", "Running")], 0).create, []);
    let fewer = planned(&json!({"parallelism": 1}), &none, &[tracked("a", "Running"), tracked("b", "Pending")], 0);
    assert_eq!(names(&fewer.delete), ["b"]);
    let suspended = planned(&json!({"suspend": true}), &none, &[tracked("a", "Running")], 0);
    assert_eq!((names(&suspended.delete), suspended.status.start_time), (vec!["a"], None));
}

#[test]
fn a_pod_is_written_down_then_let_go_then_counted() {
    let none = json!({});
    let seen = planned(&none, &none, &[tracked("a", "Succeeded")], 0);
    assert_eq!((uncounted(&seen.status).0, seen.status.succeeded), (vec!["a".to_owned()], None));
    assert_eq!((names(&seen.count), seen.create.len()), (vec!["a"], 1));
    let written = json!({"uncountedTerminatedPods": {"succeeded": ["a"]}});
    let still = planned(&none, &written, &[tracked("a", "Succeeded")], 0);
    assert_eq!((uncounted(&still.status).0.len(), still.create.len()), (1, 1));
    let gone = planned(&none, &written, &[pod("a", "Succeeded", JobPod::default())], 0);
    assert_eq!((uncounted(&gone.status).0.len(), gone.status.succeeded), (0, Some(1)));
}

#[test]
fn a_job_is_complete_when_its_last_pod_is_counted() {
    let (none, both) = (json!({}), json!({"succeeded": 1, "uncountedTerminatedPods": {"succeeded": ["b"]}}));
    let ending = planned(&none, &both, &[tracked("b", "Succeeded")], 7);
    assert!(holds(&ending.status, "SuccessCriteriaMet") && !holds(&ending.status, "Complete"));
    let over = planned(&none, &both, &[], 7);
    assert!(holds(&over.status, "Complete"));
    assert_eq!(over.status.completion_time.map(|time| time.0), Some(at(7)));
}

#[test]
fn after_a_failure_the_next_pod_waits_and_too_many_end_the_job() {
    let none = json!({});
    let early = planned(&none, &none, &[tracked("a", "Failed")], 103);
    assert_eq!((early.create.len(), early.again.map(|wait| wait.as_secs())), (0, Some(7)));
    assert_eq!(planned(&none, &none, &[tracked("a", "Failed")], 110).create.len(), 2);
    let failing = planned(&none, &none, &[tracked("a", "Failed"), tracked("b", "Failed"), tracked("c", "Running")], 110);
    let target = failing.status.conditions.iter().flatten().find(|condition| condition.type_ == "FailureTarget");
    assert_eq!(target.and_then(|target| target.reason.as_deref()), Some("BackoffLimitExceeded"));
    assert_eq!(names(&failing.delete), ["c"]);
    let over = planned(&none, &serde_json::to_value(failing.status).expect("a status"), &[], 111);
    assert!(holds(&over.status, "Failed"));
}

#[test]
fn a_job_has_a_deadline() {
    let spec = json!({"activeDeadlineSeconds": 60});
    assert_eq!(planned(&spec, &json!({}), &[], 50).again.map(|wait| wait.as_secs()), Some(10));
    assert!(holds(&planned(&spec, &json!({}), &[tracked("a", "Running")], 60).status, "FailureTarget"));
}

#[test]
fn each_index_succeeds_once() {
    let spec = json!({"completionMode": "Indexed", "completions": 4, "parallelism": 3});
    let begun = planned(&spec, &json!({}), &[indexed(1, "Running"), indexed(0, "Succeeded")], 0);
    assert_eq!(begun.create.iter().map(|wanted| wanted.index).collect::<Vec<_>>(), [Some(2), Some(3)]);
    assert_eq!((begun.status.completed_indexes.as_deref(), begun.status.succeeded), (Some("0"), Some(1)));
    let status = json!({"completedIndexes": "0-2", "succeeded": 3});
    let last = planned(&spec, &status, &[indexed(3, "Succeeded")], 0);
    assert_eq!((last.status.completed_indexes.as_deref(), last.create.len()), (Some("0-3"), 0));
    assert!(holds(&last.status, "SuccessCriteriaMet"));
}

#[test]
fn an_index_that_fails_too_often_fails_alone() {
    let spec = json!({"completionMode": "Indexed", "completions": 2, "backoffLimit": 100, "backoffLimitPerIndex": 1});
    let again = planned(&spec, &json!({}), &[indexed(0, "Failed"), indexed(1, "Running")], 60);
    assert_eq!(again.create, [Wanted { index: Some(0), failures: Some(1) }]);
    let of_job = JobPod { tracked: true, index: Some(0), index_failures: 1, ..JobPod::default() };
    let twice = [pod("j-0-b", "Failed", of_job), indexed(1, "Running")];
    let failed = planned(&spec, &json!({}), &twice, 60);
    assert_eq!((failed.status.failed_indexes.as_deref(), failed.create.len()), (Some("0"), 0));
    assert!(!holds(&failed.status, "FailureTarget"));
    let all = planned(&spec, &json!({"failedIndexes": "0", "completedIndexes": "1"}), &[], 60);
    let condition = all.status.conditions.iter().flatten().find(|condition| condition.type_ == "Failed");
    assert_eq!(condition.and_then(|condition| condition.reason.as_deref()), Some("FailedIndexes"));
}
