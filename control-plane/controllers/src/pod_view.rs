//! What controllers keep of a pod: a projection, so that a cache over all pods stays small.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorTerm, Toleration};
use mizzen_api::{Object, ObjectRef, OwnerReference};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::recent;

/// `metadata.annotations` of a pod that says how willingly it is given up (KEP-2255).
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Annotation and label of an indexed job's pods.
pub(crate) const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation: how often the pod's index failed before, where that is limited.
pub(crate) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Finalizer of a job's pods until they are counted.
pub(crate) const JOB_TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// What only matters of pods that belong to a job, or did.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobPod {
    /// Not counted yet.
    pub(crate) tracked: bool,
    pub(crate) index: Option<i32>,
    pub(crate) index_failures: i32,
    /// Containers that ended, with their exit codes.
    pub(crate) exits: Vec<(String, i32)>,
    /// Types with status.
    pub(crate) conditions: Vec<(String, String)>,
    /// When its last container ended.
    pub(crate) finished: Option<Timestamp>,
    /// Restarts of all its containers.
    pub(crate) restarts: i32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PodView {
    pub(crate) key: Arc<ObjectRef>,
    pub(crate) uid: String,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    /// The owner that controls the pod.
    pub(crate) owner: Option<Arc<OwnerReference>>,
    pub(crate) phase: String,
    pub(crate) ready: bool,
    pub(crate) ready_since: Option<Timestamp>,
    pub(crate) terminating: bool,
    /// Ended by its node or the scheduler in favour of others.
    pub(crate) evicted: bool,
    pub(crate) node: String,
    /// The only node that its affinity allows, by name: where a daemon is meant to run.
    pub(crate) intended_node: String,
    pub(crate) created: Option<Timestamp>,
    /// The most restarts of one of its containers.
    pub(crate) restarts: i32,
    pub(crate) deletion_cost: i32,
    pub(crate) tolerations: Arc<[Toleration]>,
    /// The primary one first.
    pub(crate) ips: Vec<String>,
    pub(crate) named_ports: Vec<NamedPort>,
    pub(crate) hostname: String,
    pub(crate) subdomain: String,
    pub(crate) job: Option<Arc<JobPod>>,
    /// The volume claims that it uses: none before it is on a node.
    pub(crate) claims: Box<[ObjectRef]>,
}

/// A port of a container that services may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPort {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) port: i32,
}

impl PodView {
    pub(crate) fn of(object: &Arc<Object>) -> Option<Self> {
        let mut document: Document = object.decode().ok()?;
        let head = object.head();
        let (ips, named_ports) = (document.status.ips(), document.spec.named_ports());
        let ready = document.status.conditions.iter().find(|condition| condition.kind == "Ready");
        let tracked = head.finalizers.iter().any(|finalizer| finalizer == JOB_TRACKING);
        let of_job = tracked || head.controller().is_some_and(|owner| owner.kind == "Job");
        Some(Self {
            job: of_job.then(|| Arc::new(document.job_pod(tracked))),
            claims: document.spec.claims(head.key()),
            key: head.key().clone(),
            uid: head.uid.clone(),
            labels: head.labels.clone(),
            owner: head.controller().cloned().map(recent::owner),
            evicted: document.status.reason == "Evicted",
            phase: document.status.phase,
            ready: ready.is_some_and(|condition| condition.status == "True"),
            ready_since: ready.and_then(|condition| condition.last_transition_time),
            terminating: head.is_terminating(),
            intended_node: document.spec.affinity.as_ref().and_then(Affinity::only_node).unwrap_or_default(),
            node: document.spec.node_name,
            created: head.creation_timestamp.as_deref().and_then(|text| text.parse().ok()),
            restarts: document.status.container_statuses.iter().map(|status| status.restart_count).max().unwrap_or(0),
            deletion_cost: document.metadata.annotations.get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0),
            ips,
            named_ports,
            tolerations: recent::tolerations(document.spec.tolerations),
            hostname: document.spec.hostname,
            subdomain: document.spec.subdomain,
        })
    }

    /// The node that the pod is on or meant for; empty when it may be any.
    pub(crate) fn place(&self) -> &str {
        if self.node.is_empty() { &self.intended_node } else { &self.node }
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Counts as a replica: neither finished nor on its way out.
    pub(crate) fn is_active(&self) -> bool {
        !self.is_finished() && !self.terminating
    }

    /// Belongs to a job that has not counted it yet.
    pub(crate) fn is_tracked(&self) -> bool {
        self.job.as_ref().is_some_and(|of_job| of_job.tracked)
    }

    /// Since when the pod counts as available, once it has been ready for `min_ready_seconds`; it may lie ahead.
    pub(crate) fn available_at(&self, min_ready_seconds: i32) -> Option<Timestamp> {
        let since = self.ready_since.filter(|_| self.ready);
        match (self.ready, min_ready_seconds) {
            (false, _) => None,
            (true, 0) => Some(since.unwrap_or(Timestamp::MIN)),
            (true, seconds) => since?.checked_add(jiff::SignedDuration::from_secs(seconds.into())).ok(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

impl Document {
    fn job_pod(&self, tracked: bool) -> JobPod {
        let annotation = |name| self.metadata.annotations.get(name).and_then(|text| text.parse().ok());
        let statuses = || self.status.init_container_statuses.iter().chain(&self.status.container_statuses);
        let ended = || statuses().filter_map(|status| Some((status, status.state.terminated.as_ref()?)));
        JobPod {
            tracked,
            index: annotation(COMPLETION_INDEX),
            index_failures: annotation(INDEX_FAILURES).unwrap_or(0),
            exits: ended().map(|(status, state)| (status.name.clone(), state.exit_code)).collect(),
            conditions: self.status.conditions.iter().map(|found| (found.kind.clone(), found.status.clone())).collect(),
            finished: ended().filter_map(|(_, state)| state.finished_at).max(),
            restarts: statuses().map(|status| status.restart_count).sum(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    node_name: String,
    affinity: Option<Affinity>,
    tolerations: Vec<Toleration>,
    hostname: String,
    subdomain: String,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    volumes: Vec<Volume>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Volume {
    name: String,
    persistent_volume_claim: Option<ClaimSource>,
    ephemeral: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ClaimSource {
    claim_name: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Affinity {
    node_affinity: Option<NodeAffinity>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct NodeAffinity {
    required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
}

impl Affinity {
    /// The node's name, where the affinity allows no other by name.
    fn only_node(&self) -> Option<String> {
        let selector = self.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()?;
        let [NodeSelectorTerm { match_fields: Some(fields), .. }] = selector.node_selector_terms.as_slice() else { return None };
        match fields.as_slice() {
            [field] if field.key == "metadata.name" && field.operator == "In" => match field.values.as_deref() {
                Some([name]) => Some(name.clone()),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Spec {
    fn claims(&self, pod: &ObjectRef) -> Box<[ObjectRef]> {
        if self.node_name.is_empty() {
            return Box::default();
        }
        let named = self.volumes.iter().filter_map(|volume| {
            // A claim of the pod's own bears its name.
            let own = volume.ephemeral.map(|_| format!("{}-{}", pod.name, volume.name));
            volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.clone()).or(own)
        });
        named.map(|claim| ObjectRef::new(pod.namespace.clone(), claim)).collect()
    }

    /// Of containers that run as long as the pod does, so also of sidecars.
    fn named_ports(&self) -> Vec<NamedPort> {
        let sidecars = self.init_containers.iter().filter(|container| container.restart_policy == "Always");
        let ports = self.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
        let named = ports.filter(|port| !port.name.is_empty());
        named
            .map(|port| NamedPort { name: port.name.clone(), protocol: port.protocol.clone(), port: port.container_port })
            .collect()
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    restart_policy: String,
    ports: Vec<ContainerPort>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ContainerPort {
    name: String,
    protocol: String,
    container_port: i32,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: String,
    reason: String,
    conditions: Vec<Condition>,
    init_container_statuses: Vec<ContainerStatus>,
    container_statuses: Vec<ContainerStatus>,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

impl Status {
    fn ips(&mut self) -> Vec<String> {
        match (self.pod_ips.is_empty(), self.pod_ip.is_empty()) {
            (false, _) => self.pod_ips.drain(..).map(|address| address.ip).collect(),
            (true, false) => vec![std::mem::take(&mut self.pod_ip)],
            (true, true) => Vec::new(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodIp {
    ip: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    last_transition_time: Option<Timestamp>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    restart_count: i32,
    state: ContainerState,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ContainerState {
    terminated: Option<Terminated>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    exit_code: i32,
    finished_at: Option<Timestamp>,
}
