//! A world for tests of decisions: a pod, and containers in any state.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_runtime::{ContainerState, Exit};
use serde_json::{Value, json};

use super::allocation::{self, Pending};
use super::decide::{Command, Decision, decide};
use super::view::{Attempt, ContainerView, Failure, ImageView, Prepared, View};
use crate::node::room::Refusal;
use crate::spec::resources;

pub(crate) const START: &str = "2026-01-01T00:00:00Z";

pub(crate) fn at(seconds: i64) -> Timestamp {
    START.parse::<Timestamp>().expect("is a time").checked_add(SignedDuration::from_secs(seconds)).expect("is in range")
}

pub(crate) struct World {
    pub(crate) pod: Pod,
    pub(crate) now: i64,
    pub(crate) containers: BTreeMap<String, ContainerView>,
    pub(crate) prepared: Prepared,
    pub(crate) gone: bool,
    pub(crate) released: bool,
    pub(crate) torn_down: bool,
    pub(crate) rejected: Option<(String, String)>,
    pub(crate) pending: Option<Pending>,
}

impl World {
    /// A pod with the given spec, all images present, prepared, nothing started.
    pub(crate) fn new(spec: Value) -> Self {
        let document = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 1}, "spec": spec});
        let pod: Pod = serde_json::from_value(document).expect("is a pod");
        let view = |container: &Container| {
            let granted = resources::amounts(container);
            ContainerView { image: ImageView::Ready { wasm: false }, granted, ..ContainerView::default() }
        };
        let all = super::containers::containers(&pod);
        Self {
            containers: all.map(|container| (container.name.clone(), view(&container))).collect(),
            pending: None,
            pod,
            now: 0,
            prepared: Prepared::Yes,
            gone: false,
            released: false,
            torn_down: false,
            rejected: None,
        }
    }

    pub(crate) fn one(policy: &str) -> Self {
        Self::new(json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "i"}]}))
    }

    fn container(&mut self, name: &str) -> &mut ContainerView {
        self.containers.get_mut(name).expect("is a container of the pod")
    }

    pub(crate) fn running(mut self, name: &str, number: u32) -> Self {
        let container = self.container(name);
        let state = ContainerState::Running { started_at: START.into(), pid: Some(1) };
        container.previous = container.current.take();
        container.current = Some(attempt(name, number, state));
        (container.started, container.ready) = (true, true);
        self
    }

    /// Ended at `finished` seconds; `backoff` seconds must pass before the next start.
    pub(crate) fn exited(mut self, name: &str, code: i32, finished: i64, backoff: i64) -> Self {
        let container = self.container(name);
        let number = container.current.as_ref().map_or(0, |current| current.number);
        let exit = Exit { code, started_at: START.into(), finished_at: at(finished).to_string(), ..Exit::default() };
        let state = ContainerState::Exited(exit);
        container.current = Some(attempt(name, number, state));
        container.backoff = SignedDuration::from_secs(backoff);
        (container.started, container.ready) = (false, false);
        self
    }

    pub(crate) fn starting(mut self, name: &str, attempt: u32) -> Self {
        self.container(name).starting = Some(attempt);
        self
    }

    pub(crate) fn probes(mut self, name: &str, started: bool, ready: bool) -> Self {
        let container = self.container(name);
        (container.started, container.ready) = (started, ready);
        self
    }

    pub(crate) fn unhealthy(mut self, name: &str) -> Self {
        self.container(name).unhealthy = Some(("liveness probe".into(), None));
        self
    }

    pub(crate) fn image(mut self, name: &str, image: ImageView) -> Self {
        self.container(name).image = image;
        self
    }

    pub(crate) fn start_error(mut self, name: &str, reason: &str, retry_at: i64) -> Self {
        self.container(name).start_error = Some(failure(reason, 0, retry_at));
        self
    }

    pub(crate) fn deleted(mut self, grace: i64) -> Self {
        let deleted: Value = json!({"deletionTimestamp": START, "deletionGracePeriodSeconds": grace});
        let deleted: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta =
            serde_json::from_value(deleted).expect("is metadata");
        self.pod.metadata.deletion_timestamp = deleted.deletion_timestamp;
        self.pod.metadata.deletion_grace_period_seconds = Some(grace);
        self
    }

    pub(crate) fn told(mut self, status: Value) -> Self {
        self.pod.status = Some(serde_json::from_value(status).expect("is a status"));
        self
    }

    /// The manifest asks for other resources of the first container than it was granted.
    pub(crate) fn asking_for(mut self, resources: Value) -> Self {
        let container = &mut self.pod.spec.as_mut().expect("has one").containers[0];
        container.resources = Some(serde_json::from_value(resources).expect("are resources"));
        self
    }

    pub(crate) fn refused(mut self, refusal: Refusal) -> Self {
        self.pending = Some(Pending { wanted: allocation::wanted(&self.pod), refusal, again: false });
        self
    }

    pub(crate) fn now(mut self, seconds: i64) -> Self {
        self.now = seconds;
        self
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let host = ["192.0.2.1".parse().expect("is an address")];
        let pod_ip = ["10.0.0.2".parse().expect("is an address")];
        let phase = self.pod.status.as_ref().and_then(|status| status.phase.clone());
        look(&View {
            pod: &self.pod,
            gone: self.gone,
            now: at(self.now),
            start_time: at(0),
            containers: self.containers.clone(),
            prepared: self.prepared.clone(),
            addresses: if matches!(self.prepared, Prepared::Addressed | Prepared::Yes) { &pod_ip } else { &[] },
            host_addresses: &host,
            rejected: self.rejected.clone(),
            finished: phase.filter(|phase| phase == "Succeeded" || phase == "Failed"),
            released: self.released,
            torn_down: self.torn_down,
            refresh_at: at(1_000_000),
            pending: self.pending.as_ref(),
        })
    }

    pub(crate) fn decide(&self) -> Decision {
        self.look(decide)
    }

    pub(crate) fn commands(&self) -> Vec<Command> {
        self.decide().commands
    }
}

pub(crate) fn failure(reason: &str, since: i64, retry_at: i64) -> Failure {
    Failure { reason: reason.into(), message: "why".into(), at: at(since), retry_at: at(retry_at) }
}

/// One start of a container.
fn attempt(name: &str, number: u32, state: ContainerState) -> Attempt {
    Attempt {
        number,
        id: format!("{name}-{number}"),
        state,
        image: "i:1".into(),
        asked_image: String::new(),
        image_id: "i@sha256:1".into(),
        amounts: "{}".into(),
    }
}
