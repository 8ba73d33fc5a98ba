//! Node lifecycle: notices nodes that no longer report, taints them, and evicts the pods that do not bear it.

mod decide;
mod evict;
mod taints;

pub(crate) use taints::is_out_of_service;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mizzen_api::{Object, ObjectRef, Reason};
use mizzen_client::{Client, DeleteOptions, PatchKind};
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, Recorder, WatchCache, WatchSpec, reference, typed};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::caches::BY_NODE;
use crate::context::Context;
use crate::pod_view::PodView;
use crate::time::whole_seconds;
use decide::Health;
pub(crate) use evict::tolerates;

const NAME: &str = "node-controller";
/// How often a node that is not well is looked at, changes aside.
const PERIOD: Duration = Duration::from_secs(5);

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let leases = WatchCache::objects(WatchSpec::all(typed::gvr::<Lease>()).namespace("kube-node-lease"))
        .start(client.clone(), context.cancel.clone());
    let (nodes, pods) = (context.caches.nodes.clone(), context.caches.pods.clone());
    nodes.enqueue(&queue);
    leases.enqueue_mapped(&queue, |lease| vec![ObjectRef::cluster(lease.head().name.clone())]);
    wake_by_placed_pods(&pods, &queue);
    let reconciler = Nodes {
        recorder: Recorder::start(client.clone(), context.clock.clone(), NAME, ""),
        clock: context.clock.clone(),
        client,
        nodes,
        leases,
        pods,
        seen: Mutex::new(HashMap::new()),
        tainted: Mutex::new(HashMap::new()),
    };
    context.run(Controller::new("node-lifecycle", queue, Arc::new(reconciler)).workers(2));
}

/// A pod that comes to a tainted node may have to leave it again.
fn wake_by_placed_pods(pods: &WatchCache<PodView>, queue: &Queue) {
    let queue = queue.clone();
    pods.on_change(move |change| {
        if let Some(pod) = change.new
            && !pod.node.is_empty()
            && change.old.is_none_or(|old| old.node != pod.node || old.tolerations != pod.tolerations)
        {
            queue.add(ObjectRef::cluster(pod.node.clone()));
        }
    });
}

/// The last sign of life, and when it was seen by this process's clock: clocks of nodes are not trusted.
#[derive(Clone, PartialEq)]
struct Seen {
    lease: Option<Timestamp>,
    status: Option<Timestamp>,
    /// How long the lease lasts.
    lasts: SignedDuration,
    at: Timestamp,
}

struct Nodes {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    nodes: Arc<WatchCache>,
    leases: Arc<WatchCache>,
    pods: Arc<WatchCache<PodView>>,
    seen: Mutex<HashMap<String, Seen>>,
    /// By node: its taints that do not say since when they are there, and when they were first seen.
    tainted: Mutex<HashMap<String, Vec<(Taint, Timestamp)>>>,
}

#[async_trait]
impl Reconciler for Nodes {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        self.leases.synced().await;
        let Some(object) = self.nodes.get(&key) else {
            self.seen.lock().remove(&key.name);
            self.tainted.lock().remove(&key.name);
            return Ok(Action::Done);
        };
        let node = typed::view::<Node>(&object)?;
        let now = self.clock.now();
        let seen = self.look(&key.name, &node, now);
        let (grace, silent_for) = (decide::grace(&node, seen.lasts), now.duration_since(seen.at));
        let health = decide::health(grace, silent_for);
        if health == Health::Silent
            && let Some(conditions) = decide::silenced(&node, now)
        {
            self.mark_silent(&object, conditions).await?;
            return Ok(Action::RequeueAfter(Duration::from_millis(50)));
        }
        let wanted = taints::wanted(&node, self.all_lost(), now);
        if node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).map_or(&[][..], Vec::as_slice) != wanted {
            let write = |document: &mut Value| match document["spec"].as_object_mut() {
                // As Kubernetes writes it: not even an empty list.
                Some(spec) if wanted.is_empty() => drop(spec.remove("taints")),
                _ => document["spec"]["taints"] = json!(wanted),
            };
            typed::update::<Node>(self.client.as_ref(), &object, write).await?;
            return Ok(Action::RequeueAfter(Duration::from_millis(50)));
        }
        let dated = self.dated(&key.name, &wanted, now);
        if decide::ready(&node) == "True" && !wanted.iter().any(|taint| taint.effect == "NoExecute") {
            // Nothing is due before it has been silent for too long, and of thousands most are well.
            let left = Duration::try_from(grace - silent_for).unwrap_or_default();
            return Ok(Action::RequeueAfter(left + Duration::from_secs(1)));
        }
        if decide::ready(&node) != "True" {
            self.mark_pods_unready(&key.name, now).await?;
        }
        let next = self.evict(&key.name, &dated, now).await?;
        Ok(Action::RequeueAfter(next.map_or(PERIOD, |next| next.min(PERIOD))))
    }
}

impl Nodes {
    fn look(&self, name: &str, node: &Node, now: Timestamp) -> Seen {
        let lease = self.leases.get(&ObjectRef::new("kube-node-lease", name));
        let lease = lease.and_then(|lease| typed::view::<Lease>(&lease).ok());
        let spec = lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let lasts = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        let fresh = Seen {
            lease: spec.and_then(|spec| Some(spec.renew_time.as_ref()?.0)),
            lasts: SignedDuration::from_secs(lasts.into()),
            status: decide::heartbeat(node),
            at: now,
        };
        let mut all = self.seen.lock();
        match all.get(name) {
            Some(known) if known.lease == fresh.lease && known.status == fresh.status => known.clone(),
            _ => {
                all.insert(name.to_owned(), fresh.clone());
                fresh
            }
        }
    }

    /// The taints that pods have to leave for, each with since when it is there: what people add does not say so.
    fn dated(&self, node: &str, taints: &[Taint], now: Timestamp) -> Vec<Taint> {
        let mut all = self.tainted.lock();
        let known = all.remove(node).unwrap_or_default();
        let evicting = || taints.iter().filter(|taint| taint.effect == "NoExecute");
        let since = |taint: &Taint| known.iter().find(|(known, _)| known == taint).map_or(now, |(_, since)| *since);
        let undated = evicting().filter(|taint| taint.time_added.is_none());
        let seen: Vec<_> = undated.map(|taint| (taint.clone(), since(taint))).collect();
        let dated = |taint: &Taint| {
            let time_added = taint.time_added.clone().or_else(|| Some(Time(since(taint))));
            Taint { time_added, ..taint.clone() }
        };
        let dated = evicting().map(dated).collect();
        if !seen.is_empty() {
            all.insert(node.to_owned(), seen);
        }
        dated
    }

    /// Whether no node of the cluster is ready.
    fn all_lost(&self) -> bool {
        let ready = |node: &Arc<Object>| typed::view::<Node>(node).is_ok_and(|node| decide::ready(&node) == "True");
        !self.nodes.any(ready)
    }

    async fn mark_silent(&self, object: &Object, conditions: serde_json::Value) -> Result<(), Error> {
        let node = typed::view::<Node>(object)?;
        let head = object.head();
        let patch = json!({
            "metadata": {"resourceVersion": head.resource_version},
            "status": {"conditions": conditions},
        });
        typed::patch::<Node>(self.client.as_ref(), "", &head.name, "status", PatchKind::Strategic, patch).await?;
        let about = ObjectReference { uid: Some(head.name.clone()), ..reference(node.as_ref()) };
        self.recorder.normal(&about, "NodeNotReady", format!("Node {} status is now: NodeNotReady", head.name));
        Ok(())
    }

    /// Pods of a node that is not ready are not ready either: services must not send them traffic.
    async fn mark_pods_unready(&self, node: &str, now: Timestamp) -> Result<(), Error> {
        for pod in self.pods.by(BY_NODE, node).iter().filter(|pod| pod.ready && !pod.is_finished()) {
            let condition = json!({
                "type": "Ready", "status": "False", "reason": "NodeNotReady",
                "lastTransitionTime": whole_seconds(now).to_string(),
            });
            let patch = json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}});
            let (namespace, name) = (&pod.key.namespace, &pod.key.name);
            match typed::patch::<Pod>(self.client.as_ref(), namespace, name, "status", PatchKind::Strategic, patch).await {
                Err(error) if !error.is_race() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes the pods whose time on a tainted node is over; answers how long the next one still has.
    async fn evict(&self, node: &str, taints: &[Taint], now: Timestamp) -> Result<Option<Duration>, Error> {
        let mut next: Option<Duration> = None;
        for pod in self.pods.by(BY_NODE, node).iter().filter(|pod| pod.is_active()) {
            match evict::time_left(taints, &pod.tolerations, pod.created, now) {
                None => {}
                Some(left) if left.is_zero() => self.evict_one(pod).await?,
                Some(left) => next = Some(next.map_or(left, |next| next.min(left))),
            }
        }
        Ok(next)
    }

    async fn evict_one(&self, pod: &PodView) -> Result<(), Error> {
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectReference::default()
        };
        self.recorder.normal(&about, "TaintManagerEviction", format!("Marking for deletion Pod {namespace}/{name}"));
        let options = DeleteOptions { uid: Some(pod.uid.clone()), ..DeleteOptions::default() };
        match typed::delete::<Pod>(self.client.as_ref(), namespace, name, options).await {
            Err(error) if !error.is(Reason::Conflict) => Err(error),
            _ => Ok(()),
        }
    }
}
