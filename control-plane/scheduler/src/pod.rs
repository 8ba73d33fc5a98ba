//! A pod as the scheduler sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Affinity, ObjectReference, Pod, PodSpec, Toleration, TopologySpreadConstraint};
use mizzen_api::{Object, ObjectRef, pod_resources};
use serde_json::Value;

use crate::resources::Amounts;

/// A port of the node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// `0.0.0.0` for all addresses.
    pub address: String,
    pub protocol: String,
    pub port: i32,
}

#[derive(Clone, Debug, Default)]
pub struct PodInfo {
    pub key: ObjectRef,
    pub uid: String,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
    /// The uid of the controlling owner, empty when there is none.
    pub owner: String,
    pub created: Option<Timestamp>,
    pub terminating: bool,
    /// Succeeded or Failed: it takes nothing of its node any more.
    pub finished: bool,
    /// Empty before it is scheduled.
    pub node: String,
    pub scheduler: String,
    pub priority: i32,
    /// `spec.schedulingGates` is not empty.
    pub gated: bool,
    pub requests: Amounts,
    /// CPU and memory for scoring: containers that ask for nothing count as a small one.
    pub scoring: (i64, i64),
    pub host_ports: Vec<HostPort>,
    pub tolerations: Vec<Toleration>,
    pub node_selector: BTreeMap<String, String>,
    pub affinity: Option<Affinity>,
    pub spread: Vec<TopologySpreadConstraint>,
    pub images: Vec<String>,
    /// The PodScheduled condition's reason and message, when it is False.
    pub unscheduled: Option<(String, String)>,
}

/// What a container without requests counts for when nodes are scored.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

impl PodInfo {
    /// `None` when the document is no pod, which the API never stores.
    pub fn of(object: &Arc<Object>) -> Option<Self> {
        let pod: Pod = object.decode().ok()?;
        let document = object.value().ok()?;
        let head = object.head();
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let requests = Amounts::of(&pod_resources::requests(document.get("spec").unwrap_or(&Value::Null)));
        let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
        Some(Self {
            key: head.object_ref(),
            uid: head.uid.clone(),
            resource_version: head.resource_version.clone(),
            labels: head.labels.clone(),
            owner: head.controller().map(|owner| owner.uid.clone()).unwrap_or_default(),
            created: pod.metadata.creation_timestamp.map(|time| time.0),
            terminating: head.is_terminating(),
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            gated: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()),
            scoring: scoring(&spec, &requests),
            requests,
            host_ports: host_ports(&spec),
            images: spec.containers.iter().filter_map(|container| container.image.clone()).collect(),
            node: spec.node_name.unwrap_or_default(),
            scheduler: spec.scheduler_name.unwrap_or_else(|| "default-scheduler".to_owned()),
            priority: spec.priority.unwrap_or(0),
            tolerations: spec.tolerations.unwrap_or_default(),
            node_selector: spec.node_selector.unwrap_or_default(),
            affinity: spec.affinity,
            spread: spec.topology_spread_constraints.unwrap_or_default(),
            unscheduled: condition
                .filter(|condition| condition.status == "False")
                .map(|condition| (condition.reason.clone().unwrap_or_default(), condition.message.clone().unwrap_or_default())),
        })
    }

    /// Whether it states affinity or anti-affinity to other pods.
    pub fn is_social(&self) -> bool {
        self.affinity.as_ref().is_some_and(|affinity| affinity.pod_affinity.is_some() || affinity.pod_anti_affinity.is_some())
    }

    pub(crate) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(self.key.namespace.clone()),
            name: Some(self.key.name.clone()),
            uid: Some(self.uid.clone()),
            resource_version: Some(self.resource_version.clone()),
            field_path: None,
        }
    }
}

fn scoring(spec: &PodSpec, requests: &Amounts) -> (i64, i64) {
    let without = |resource: &str| {
        let asks = |c: &&k8s_openapi::api::core::v1::Container| {
            let resources = c.resources.as_ref();
            let lists = resources.into_iter().flat_map(|r| [r.requests.as_ref(), r.limits.as_ref()]).flatten();
            !lists.into_iter().any(|list| list.contains_key(resource))
        };
        i64::try_from(spec.containers.iter().filter(asks).count()).unwrap_or(0)
    };
    (
        requests.milli_cpu.saturating_add(without("cpu") * DEFAULT_MILLI_CPU),
        requests.memory.saturating_add(without("memory") * DEFAULT_MEMORY),
    )
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some(HostPort { address, protocol, port: number })
    });
    taken.collect()
}
