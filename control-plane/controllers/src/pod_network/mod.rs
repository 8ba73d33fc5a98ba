//! Each node's blocks of pods' addresses (`spec.podCIDRs`), and what nodes learn of each other's (docs/decisions/0043).
//!
//! A node may not read other nodes, and Nodes change every few seconds: what its network needs of them is in one
//! EndpointSlice for each node, which changes when that does.

mod allocate;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_api::node_annotations::{OTHER_ADDRESSES, POD_CIDR};
use mizzen_api::{Object, ObjectRef, Reason, ServiceRange};
use mizzen_client::{ApiRequest, Client};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, Recorder, WatchCache, WatchSpec, reference, typed};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::context::Context;
use crate::endpoints::SLICE_MANAGED_BY;
use allocate::allocate;

const ACCOUNT: &str = "pod-network-controller";
const MANAGER: &str = "pod-network.mizzen.dev";
const NAMESPACE: &str = "kube-system";

pub(crate) fn start(context: &Context) {
    let client = context.client(ACCOUNT);
    let queue = Queue::default();
    let spec =
        WatchSpec::all(typed::gvr::<EndpointSlice>()).namespace(NAMESPACE).labels(&format!("{SLICE_MANAGED_BY}={MANAGER}"));
    let slices = WatchCache::objects(spec).start(client.clone(), context.cancel.clone());
    slices.enqueue_mapped(&queue, |slice| node_of(slice).into_iter().collect());
    let (nodes, woken) = (context.caches.nodes.clone(), queue.clone());
    // A node tells how it is every few seconds: what counts here stays as it is.
    nodes.on_change(move |change| {
        if change.old.and_then(|node| View::of(node)) != change.new.and_then(|node| View::of(node)) {
            woken.add(change.key.clone());
        }
    });
    let recorder = Recorder::start(client.clone(), context.clock.clone(), ACCOUNT, "");
    let second = context.second_pod_range;
    let reconciler = PodNetwork { client, recorder, nodes, slices, second, given: Mutex::default() };
    context.run(Controller::new("pod-network", queue, Arc::new(reconciler)));
}

/// What of a node counts.
#[derive(Debug, PartialEq, Eq)]
struct View {
    wished: Vec<ServiceRange>,
    blocks: Vec<String>,
    /// The first of IPv4.
    address: Option<String>,
    /// The first of IPv6.
    second: Option<String>,
    uid: String,
    is_ready: bool,
}

impl View {
    fn of(node: &Object) -> Option<Self> {
        let node = typed::view::<Node>(node).ok()?;
        let wished = node.metadata.annotations.as_ref().and_then(|annotations| annotations.get(POD_CIDR));
        let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let inside = || addresses.clone().filter(|address| address.type_ == "InternalIP");
        let first = |is_ipv4| {
            let mut own = inside().filter(|address| address.address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() == is_ipv4));
            own.next().map(|address| address.address.clone())
        };
        let spec = node.spec.as_ref();
        let all = spec.into_iter().flat_map(|spec| spec.pod_cidrs.iter().flatten());
        let blocks: Vec<String> = all.chain(spec.and_then(|spec| spec.pod_cidr.as_ref())).cloned().collect();
        Some(Self {
            wished: wished.iter().flat_map(|wished| wished.split(',')).filter_map(|range| range.trim().parse().ok()).collect(),
            blocks: blocks.into_iter().filter(|block| !block.is_empty()).fold(Vec::new(), |mut all, block| {
                if !all.contains(&block) {
                    all.push(block);
                }
                all
            }),
            address: first(true),
            second: first(false),
            uid: node.metadata.uid.clone().unwrap_or_default(),
            is_ready: conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        })
    }
}

struct PodNetwork {
    client: Arc<dyn Client>,
    recorder: Recorder,
    nodes: Arc<WatchCache>,
    slices: Arc<WatchCache>,
    /// Where blocks of the second family come from; `None` where pods have one only.
    second: Option<ServiceRange>,
    /// What was given by this process: the cache may not know yet.
    given: Mutex<BTreeMap<String, Vec<ServiceRange>>>,
}

#[async_trait]
impl Reconciler for PodNetwork {
    /// The key is a node.
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        self.slices.synced().await;
        let Some(object) = self.nodes.get(&key) else {
            // Its slice is the garbage collector's.
            self.given.lock().remove(&key.name);
            return Ok(Action::Done);
        };
        let Some(view) = View::of(&object) else { return Ok(Action::Done) };
        let done = match (&view.blocks[..], &view.wished[..], &view.address) {
            ([], [_, ..], _) => self.give(&object, &view.wished).await,
            ([_, ..], _, Some(address)) => self.publish(&key.name, &view, address).await,
            _ => Ok(()),
        };
        match done {
            Err(error) if error.is(Reason::NotFound) => Ok(Action::Done),
            done => done.map(|()| Action::Done),
        }
    }
}

impl PodNetwork {
    async fn give(&self, node: &Object, wished: &[ServiceRange]) -> Result<(), Error> {
        let name = &node.head().name;
        let blocks = {
            let mut given = self.given.lock();
            let others = self.nodes.list();
            let known = others.iter().filter_map(|node| View::of(node)).flat_map(|view| view.blocks);
            let own = given.remove(name);
            let known = known.filter_map(|block| block.parse().ok());
            let taken: Vec<_> = known.chain(given.values().flatten().copied()).collect();
            let blocks = allocate(own.as_deref().unwrap_or(wished), self.second, &taken);
            given.extend(blocks.clone().map(|blocks| (name.clone(), blocks)));
            blocks
        };
        let Some(blocks) = blocks else {
            let node = typed::view::<Node>(node)?;
            let about = ObjectReference { uid: Some(name.clone()), ..reference(node.as_ref()) };
            self.recorder.normal(&about, "CIDRNotAvailable", format!("Node {name} status is now: CIDRNotAvailable"));
            return Ok(());
        };
        let blocks: Vec<String> = blocks.iter().map(ToString::to_string).collect();
        let set = |document: &mut Value| {
            document["spec"]["podCIDR"] = json!(blocks[0]);
            document["spec"]["podCIDRs"] = json!(blocks);
        };
        typed::update::<Node>(self.client.as_ref(), node, set).await.map(drop)
    }

    async fn publish(&self, node: &str, view: &View, address: &str) -> Result<(), Error> {
        let name = format!("node-{node}");
        let wanted = slice(&name, node, view, address);
        let Some(stored) = self.slices.get(&ObjectRef::new(NAMESPACE, &name)) else {
            let request = ApiRequest::create(&typed::gvr::<EndpointSlice>(), NAMESPACE, wanted);
            return match self.client.write(request).await {
                // The cache has not seen it yet.
                Err(status) if status.is(Reason::AlreadyExists) => Ok(()),
                written => written.map(drop).map_err(|status| Error::api(format!("create endpointslices {name}"), status)),
            };
        };
        let present = stored.value().map_err(|source| Error::Decode { operation: format!("decode {name}"), source })?;
        let told = |slice: &Value| {
            let annotations = &slice["metadata"]["annotations"];
            let owner = &slice["metadata"]["ownerReferences"][0]["uid"];
            let endpoint = &slice["endpoints"][0];
            let (addresses, ready) = (&endpoint["addresses"], &endpoint["conditions"]["ready"]);
            [&annotations[POD_CIDR], &annotations[OTHER_ADDRESSES], owner, addresses, ready].map(Value::clone)
        };
        if told(&present) == told(&wanted) {
            return Ok(());
        }
        let set = |document: &mut Value| {
            document["metadata"]["annotations"] = wanted["metadata"]["annotations"].clone();
            document["metadata"]["ownerReferences"] = wanted["metadata"]["ownerReferences"].clone();
            document["endpoints"] = wanted["endpoints"].clone();
        };
        typed::update::<EndpointSlice>(self.client.as_ref(), &stored, set).await.map(drop)
    }
}

/// The node that a slice is about.
fn node_of(slice: &Object) -> Option<ObjectRef> {
    slice.head().name.strip_prefix("node-").map(ObjectRef::cluster)
}

fn slice(name: &str, node: &str, view: &View, address: &str) -> Value {
    let mut annotations = json!({POD_CIDR: view.blocks.join(",")});
    if let Some(second) = &view.second {
        annotations[OTHER_ADDRESSES] = json!(second);
    }
    json!({
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            // Of no service: not for proxies.
            "labels": {SLICE_MANAGED_BY: MANAGER, "service.kubernetes.io/service-proxy-name": MANAGER},
            "annotations": annotations,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node, "uid": view.uid}],
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "nodeName": node, "conditions": {"ready": view.is_ready}}],
        "ports": [],
    })
}
