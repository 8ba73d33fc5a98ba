//! A pod on a hollow node, and its next step: pure, from its document, its rule and the time.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mizzen_api::pick::Pick;
use mizzen_api::{Object, ObjectRef};
use serde_json::{Value, json};

use crate::profile::Rule;

/// What a step depends on.
#[derive(Clone, Debug, Default)]
pub struct HollowPod {
    pub key: ObjectRef,
    pub uid: String,
    pub node: String,
    pub labels: Arc<BTreeMap<String, String>>,
    generation: i64,
    phase: String,
    /// When it was bound.
    bound: Option<Timestamp>,
    /// When its containers started last.
    started: Option<Timestamp>,
    restarts: u64,
    /// `Always`, `OnFailure` or `Never`.
    restart_policy: String,
    /// Names and images.
    containers: Vec<(String, String)>,
    init_containers: Vec<(String, String)>,
    on_host_network: bool,
    /// When it was deleted, and the seconds it has.
    deleted: Option<(Timestamp, i64)>,
}

/// What is to be done about a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Nothing,
    /// To look again after so long.
    Wait(Duration),
    /// A patch of its status.
    Write(Value),
    /// It has ended: nothing keeps it any more.
    Delete,
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn containers(spec: &Value, field: &str) -> Vec<(String, String)> {
    list(spec, field).iter().map(|container| (text(container, "name").to_owned(), text(container, "image").to_owned())).collect()
}

/// Whole seconds, as `meta/v1.Time` is written.
fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl HollowPod {
    /// `None` for pods that are on no node.
    pub fn of(object: &Arc<Object>) -> Option<Self> {
        static LOOKED_AT: LazyLock<Pick> = LazyLock::new(|| {
            Pick::of([
                "/spec/nodeName",
                "/spec/restartPolicy",
                "/spec/hostNetwork",
                "/spec/containers/name",
                "/spec/containers/image",
                "/spec/initContainers/name",
                "/spec/initContainers/image",
                "/status/phase",
                "/status/conditions",
                "/status/containerStatuses",
            ])
        });
        let document = object.pick(&LOOKED_AT).ok()?;
        let (head, spec, status) = (object.head(), &document["spec"], &document["status"]);
        let node = spec.get("nodeName").and_then(Value::as_str).filter(|node| !node.is_empty())?;
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let scheduled = list(status, "conditions").iter().find(|condition| text(condition, "type") == "PodScheduled");
        let first = list(status, "containerStatuses").first();
        Some(Self {
            key: head.object_ref(),
            uid: head.uid.clone(),
            node: node.to_owned(),
            labels: head.labels.clone(),
            generation: head.generation,
            phase: text(status, "phase").to_owned(),
            bound: scheduled.and_then(|condition| time(text(condition, "lastTransitionTime"))),
            started: first.and_then(|status| time(status.pointer("/state/running/startedAt")?.as_str()?)),
            restarts: first.and_then(|status| status["restartCount"].as_u64()).unwrap_or(0),
            restart_policy: text(spec, "restartPolicy").to_owned(),
            containers: containers(spec, "containers"),
            init_containers: containers(spec, "initContainers"),
            on_host_network: spec["hostNetwork"].as_bool().unwrap_or(false),
            deleted: head
                .deletion_timestamp
                .as_deref()
                .and_then(time)
                .map(|by| (by, head.deletion_grace_period_seconds.unwrap_or(0))),
        })
    }

    /// The next step.
    pub fn step(&self, rule: &Rule, host_address: Ipv4Addr, now: Timestamp) -> Step {
        if let Some((by, grace)) = self.deleted {
            // What still keeps it is somebody else's finalizer.
            if grace == 0 {
                return Step::Nothing;
            }
            let asked = by.checked_sub(SignedDuration::from_secs(grace)).unwrap_or(by);
            let stop_after = rule.stop_after.min(Duration::from_secs(grace.unsigned_abs()));
            return wait_until(asked, stop_after, now).unwrap_or(Step::Delete);
        }
        match (self.phase.as_str(), self.started, rule.finish_after) {
            ("Succeeded" | "Failed", ..) => Step::Nothing,
            ("Running", Some(started), Some(finish_after)) => {
                wait_until(started, finish_after, now).unwrap_or_else(|| self.finish(rule, now))
            }
            ("Running", ..) => Step::Nothing,
            _ => {
                let bound = self.bound.unwrap_or(now);
                wait_until(bound, rule.start_after, now).unwrap_or_else(|| Step::Write(self.running(host_address, now)))
            }
        }
    }

    /// A number that stays the same for the pod, another one after each restart.
    fn lot(&self, purpose: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.uid, self.restarts, purpose).hash(&mut hasher);
        hasher.finish()
    }

    /// An address of 10.0.0.0/8.
    fn address(&self) -> Ipv4Addr {
        let mut hasher = DefaultHasher::new();
        self.uid.hash(&mut hasher);
        let [a, b, c, ..] = hasher.finish().to_le_bytes();
        Ipv4Addr::new(10, a, b, c)
    }

    fn running(&self, host_address: Ipv4Addr, now: Timestamp) -> Value {
        let address = if self.on_host_network { host_address } else { self.address() };
        let init = self.init_containers.iter().map(|container| {
            let state = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": written(now), "finishedAt": written(now)}});
            container_status(container, &state, 0, true)
        });
        let mut status = json!({
            "phase": "Running",
            "observedGeneration": self.generation,
            "hostIP": host_address.to_string(),
            "hostIPs": [{"ip": host_address.to_string()}],
            "podIP": address.to_string(),
            "podIPs": [{"ip": address.to_string()}],
            "startTime": written(now),
        });
        // The macro would copy them.
        status["conditions"] = self.conditions("True", None, now).into();
        status["initContainerStatuses"] = init.collect();
        status["containerStatuses"] = self.all(&json!({"running": {"startedAt": written(now)}}), self.restarts, true).into();
        status
    }

    fn finish(&self, rule: &Rule, now: Timestamp) -> Step {
        let fails = self.lot("fails") % 100 < u64::from(rule.fail_percent);
        let (code, reason) = if fails { (1, "Error") } else { (0, "Completed") };
        let started = self.started.unwrap_or(now);
        let ended = json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": written(started), "finishedAt": written(now)}});
        if self.restart_policy == "Always" || (fails && self.restart_policy == "OnFailure") {
            let mut statuses = self.all(&json!({"running": {"startedAt": written(now)}}), self.restarts + 1, true);
            statuses.iter_mut().for_each(|status| status["lastState"] = ended.clone());
            return Step::Write(json!({"containerStatuses": statuses}));
        }
        Step::Write(json!({
            "phase": if fails { "Failed" } else { "Succeeded" },
            "conditions": self.conditions("False", Some(if fails { "PodFailed" } else { "PodCompleted" }), now),
            "containerStatuses": self.all(&ended, self.restarts, false),
        }))
    }

    /// Of a pod that runs, or has ended for a reason.
    fn conditions(&self, ready: &str, reason: Option<&str>, now: Timestamp) -> Vec<Value> {
        let conditions =
            [("PodReadyToStartContainers", ready), ("Initialized", "True"), ("Ready", ready), ("ContainersReady", ready)];
        let condition = |(kind, status): (&str, &str)| {
            let mut condition = json!({
                "type": kind, "status": status, "lastTransitionTime": written(now), "observedGeneration": self.generation,
            });
            if let Some(reason) = reason.filter(|_| status == "False") {
                condition["reason"] = json!(reason);
            }
            condition
        };
        conditions.map(condition).to_vec()
    }

    fn all(&self, state: &Value, restarts: u64, ready: bool) -> Vec<Value> {
        self.containers.iter().map(|container| container_status(container, state, restarts, ready)).collect()
    }
}

fn container_status((name, image): &(String, String), state: &Value, restarts: u64, ready: bool) -> Value {
    json!({
        "name": name, "image": image, "imageID": image, "containerID": format!("hollow://{name}"),
        "ready": ready, "started": ready, "restartCount": restarts, "state": state,
    })
}

/// How long it is from now to so long after `from`; `None` when that has passed.
fn wait_until(from: Timestamp, after: Duration, now: Timestamp) -> Option<Step> {
    let passed = now.duration_since(from);
    let left = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX).saturating_sub(passed);
    Duration::try_from(left).ok().filter(|left| !left.is_zero()).map(Step::Wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("in range")
    }

    fn document(restart_policy: &str) -> Value {
        json!({
            "metadata": {"name": "a", "namespace": "d", "uid": "u1", "generation": 1},
            "spec": {"nodeName": "n", "restartPolicy": restart_policy, "containers": [{"name": "main", "image": "i:1"}]},
            "status": {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": written(at(0))}]},
        })
    }

    fn pod(document: &Value) -> HollowPod {
        let bytes = serde_json::to_vec(document).expect("is JSON");
        HollowPod::of(&Arc::new(Object::new(bytes, 1))).expect("is on a node")
    }

    /// The document after a step's patch, as the API merges it.
    fn after(document: &Value, step: Step) -> Value {
        let Step::Write(patch) = step else { panic!("{step:?} writes nothing") };
        let mut document = document.clone();
        for (field, value) in patch.as_object().expect("is an object") {
            if field != "conditions" {
                document["status"][field] = value.clone();
            }
        }
        document
    }

    #[test]
    fn a_pod_starts_runs_and_finishes_by_its_rule() {
        let rule = Rule { start_after: Duration::from_secs(2), finish_after: Some(Duration::from_secs(10)), ..Rule::default() };
        let bound = document("Never");
        assert_eq!(pod(&bound).step(&rule, HOST, at(0)), Step::Wait(Duration::from_secs(2)));
        let running = after(&bound, pod(&bound).step(&rule, HOST, at(2)));
        assert_eq!(running["status"]["phase"], "Running");
        assert_eq!(pod(&running).step(&rule, HOST, at(5)), Step::Wait(Duration::from_secs(7)));
        assert_eq!(pod(&running).step(&Rule::default(), HOST, at(500)), Step::Nothing, "without an end it runs on");
        let ended = after(&running, pod(&running).step(&rule, HOST, at(12)));
        assert_eq!(ended["status"]["phase"], "Succeeded");
        assert_eq!(pod(&ended).step(&rule, HOST, at(100)), Step::Nothing);
        let failing = Rule { fail_percent: 100, ..rule };
        assert_eq!(after(&running, pod(&running).step(&failing, HOST, at(12)))["status"]["phase"], "Failed");
    }

    #[test]
    fn containers_restart_as_the_policy_says() {
        let rule = Rule { finish_after: Some(Duration::from_secs(1)), ..Rule::default() };
        let failing = Rule { fail_percent: 100, ..rule.clone() };
        for (policy, rule, restarts) in
            [("Always", &rule, true), ("Always", &failing, true), ("OnFailure", &rule, false), ("OnFailure", &failing, true)]
        {
            let bound = document(policy);
            let running = after(&bound, pod(&bound).step(rule, HOST, at(0)));
            let then = after(&running, pod(&running).step(rule, HOST, at(1)));
            let count = if restarts { 1 } else { 0 };
            assert_eq!(then["status"]["containerStatuses"][0]["restartCount"], count, "{policy}");
            assert_eq!(then["status"]["phase"] == "Running", restarts, "{policy}");
        }
    }

    #[test]
    fn a_deleted_pod_goes_once_within_its_grace() {
        let mut deleted = document("Always");
        deleted["metadata"]["deletionTimestamp"] = json!(written(at(30)));
        deleted["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        let rule = Rule { stop_after: Duration::from_secs(5), ..Rule::default() };
        assert_eq!(pod(&deleted).step(&rule, HOST, at(0)), Step::Wait(Duration::from_secs(5)));
        assert_eq!(pod(&deleted).step(&rule, HOST, at(5)), Step::Delete);
        assert_eq!(pod(&deleted).step(&Rule::default(), HOST, at(0)), Step::Delete);
        let endless = Rule { stop_after: Duration::from_secs(500), ..Rule::default() };
        assert_eq!(pod(&deleted).step(&endless, HOST, at(30)), Step::Delete);
        deleted["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        assert_eq!(pod(&deleted).step(&rule, HOST, at(60)), Step::Nothing, "a finalizer keeps it");
    }
}
