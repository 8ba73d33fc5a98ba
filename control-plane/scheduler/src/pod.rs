//! A pod as the scheduler sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Affinity, ObjectReference, Toleration, TopologySpreadConstraint};
use mizzen_api::pick::Pick;
use mizzen_api::recent::Recent;
use mizzen_api::{Object, ObjectRef, pod_resources};
use serde::de::{DeserializeOwned, DeserializeSeed};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub use crate::relations::Relations;
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
    pub key: Arc<ObjectRef>,
    pub uid: String,
    pub resource_version: String,
    pub labels: Arc<BTreeMap<String, String>>,
    /// The uid of the controlling owner, empty when there is none.
    pub owner: Arc<str>,
    pub created: Option<Timestamp>,
    pub terminating: bool,
    /// Succeeded or Failed: it takes nothing of its node any more.
    pub finished: bool,
    /// Empty before it is scheduled.
    pub node: String,
    pub scheduler: String,
    pub priority: i32,
    /// `spec.preemptionPolicy` is not `Never`.
    pub may_preempt: bool,
    /// `status.nominatedNodeName`; empty when there is none.
    pub nominated_node: String,
    /// `status.startTime`.
    pub started: Option<Timestamp>,
    /// It was made to end by the scheduler, for a pod of a higher priority.
    pub is_preempted: bool,
    /// `spec.schedulingGates` is not empty.
    pub gated: bool,
    pub requests: Amounts,
    /// CPU and memory for scoring: containers that ask for nothing count as a small one.
    pub scoring: (i64, i64),
    pub host_ports: Vec<HostPort>,
    pub tolerations: Arc<[Toleration]>,
    pub node_selector: BTreeMap<String, String>,
    pub affinity: Option<Affinity>,
    pub spread: Vec<TopologySpreadConstraint>,
    pub images: Vec<String>,
    /// Its relations to other pods, if it states any.
    pub relations: Option<Arc<Relations>>,
    /// The whole object while the pod waits, for plugins that look at what is not here.
    pub object: Option<Arc<Object>>,
    /// The PodScheduled condition's reason and message, when it is False.
    pub unscheduled: Option<(String, String)>,
}

thread_local! {
    static TOLERATIONS: Recent<[Toleration]> = const { Recent::new() };
}

/// What a container without requests counts for when nodes are scored.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

impl PodInfo {
    /// `None` when the document is no pod, which the API never stores. Every change of every pod comes here, so the document
    /// is parsed once, and only what the scheduler looks at is decoded.
    pub fn of(object: &Arc<Object>) -> Option<Self> {
        Self::read(object, false)
    }

    /// A pod as it was before it had a node.
    pub(crate) fn without_node(object: &Arc<Object>) -> Option<Self> {
        Some(Self { node: String::new(), nominated_node: String::new(), ..Self::read(object, true)? })
    }

    fn read(object: &Arc<Object>, as_waiting: bool) -> Option<Self> {
        let Document { spec, status } = object.decode().ok()?;
        let (head, spec) = (object.head(), &spec);
        let requests = Amounts::of(&pod_resources::requests(spec));
        let condition = |name: &str| status.conditions.iter().flatten().find(|condition| condition.kind == name);
        let node = text(spec, "nodeName");
        let waits = as_waiting || node.is_empty();
        let affinity: Option<Affinity> = part(spec, "affinity")?;
        let key = head.key().clone();
        Some(Self {
            relations: affinity.as_ref().and_then(|affinity| Relations::of(affinity, &key.namespace, &head.labels)).map(Arc::new),
            key,
            uid: head.uid.clone(),
            resource_version: head.resource_version.clone(),
            labels: head.labels.clone(),
            owner: head.controller().map(|owner| owner.uid.as_str().into()).unwrap_or_default(),
            created: head.creation_timestamp.as_deref().and_then(|time| time.parse().ok()),
            terminating: head.is_terminating(),
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            gated: !list(spec, "schedulingGates").is_empty(),
            scoring: scoring(spec, &requests),
            requests,
            host_ports: host_ports(spec),
            images: list(spec, "containers").iter().filter_map(|container| part(container, "image")?).collect(),
            node: node.to_owned(),
            object: waits.then(|| object.clone()),
            scheduler: part::<Option<String>>(spec, "schedulerName")?.unwrap_or_else(|| "default-scheduler".to_owned()),
            priority: part(spec, "priority")?,
            may_preempt: text(spec, "preemptionPolicy") != "Never",
            is_preempted: condition("DisruptionTarget")
                .is_some_and(|found| found.status == "True" && found.reason.as_deref() == Some("PreemptionByScheduler")),
            tolerations: Recent::share(&TOLERATIONS, part::<Vec<Toleration>>(spec, "tolerations")?),
            node_selector: part(spec, "nodeSelector")?,
            affinity,
            spread: part(spec, "topologySpreadConstraints")?,
            unscheduled: condition("PodScheduled")
                .filter(|condition| condition.status == "False")
                .map(|condition| (condition.reason.clone().unwrap_or_default(), condition.message.clone().unwrap_or_default())),
            nominated_node: status.nominated_node_name.unwrap_or_default(),
            started: status.start_time.and_then(|time| time.parse().ok()),
        })
    }

    /// Whether it states affinity or anti-affinity to other pods.
    pub fn is_social(&self) -> bool {
        self.relations.is_some()
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

/// What is looked at. The rest is not even decoded: who owns which field is a third of a pod, and what it mounts another.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    #[serde(deserialize_with = "spec")]
    spec: Value,
    status: Status,
}

fn spec<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    static LOOKED_AT: LazyLock<Pick> = LazyLock::new(|| {
        Pick::of([
            "/nodeName",
            "/schedulerName",
            "/schedulingGates",
            "/priority",
            "/preemptionPolicy",
            "/containers/image",
            "/containers/resources",
            "/containers/ports",
            "/initContainers/resources",
            "/initContainers/ports",
            "/initContainers/restartPolicy",
            "/resources",
            "/overhead",
            "/tolerations",
            "/nodeSelector",
            "/affinity",
            "/topologySpreadConstraints",
        ])
    });
    LOOKED_AT.deserialize(deserializer)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    nominated_node_name: Option<String>,
    start_time: Option<String>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
}

/// A field decoded; its default when it is absent, `None` when it is of another type.
fn part<T: DeserializeOwned + Default>(of: &Value, field: &str) -> Option<T> {
    match of.get(field) {
        None | Some(Value::Null) => Some(T::default()),
        Some(value) => T::deserialize(value).ok(),
    }
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(of: &'a Value, field: &str) -> &'a [Value] {
    of.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn scoring(spec: &Value, requests: &Amounts) -> (i64, i64) {
    let without = |resource: &str| {
        let asks = |container: &&Value| {
            let lists = ["requests", "limits"].map(|list| &container["resources"][list]);
            !lists.iter().any(|list| list.get(resource).is_some())
        };
        i64::try_from(list(spec, "containers").iter().filter(asks).count()).unwrap_or(0)
    };
    (
        requests.milli_cpu.saturating_add(without("cpu") * DEFAULT_MILLI_CPU),
        requests.memory.saturating_add(without("memory") * DEFAULT_MEMORY),
    )
}

fn host_ports(spec: &Value) -> Vec<HostPort> {
    let sidecars = list(spec, "initContainers").iter().filter(|container| text(container, "restartPolicy") == "Always");
    let ports = list(spec, "containers").iter().chain(sidecars).flat_map(|container| list(container, "ports"));
    let or = |given: &str, default: &str| if given.is_empty() { default.to_owned() } else { given.to_owned() };
    let taken = ports.filter_map(|port| {
        let number = part::<i32>(port, "hostPort").filter(|number| *number > 0)?;
        let (address, protocol) = (or(text(port, "hostIP"), "0.0.0.0"), or(text(port, "protocol"), "TCP"));
        Some(HostPort { address, protocol, port: number })
    });
    taken.collect()
}
