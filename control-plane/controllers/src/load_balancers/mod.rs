//! Services of type LoadBalancer: an address of the configured pool for each family that they have, and the node that answers for
//! them on the nodes' link.
//!
//! Services with a `loadBalancerClass` are somebody else's.

mod links;
mod pool;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_api::node_annotations::LINK_RANGES;
use mizzen_api::service_annotations::ANNOUNCED_BY;
use mizzen_api::{Object, ObjectRef, Reason};
use mizzen_client::Client;
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, Recorder, WatchCache, WatchSpec, reference, typed};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::context::Context;
use crate::endpoints::SERVICE_NAME;
use links::Links;
pub use pool::{AddressPool, PoolError};
use pool::{Refusal, announcer};

const ACCOUNT: &str = "load-balancer-controller";
/// Label of nodes that balancers leave out (well-known label of Kubernetes).
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

pub(crate) fn start(context: &Context) {
    if context.balancer_addresses.is_empty() {
        return;
    }
    let client = context.client(ACCOUNT);
    let queue = Queue::default();
    let services =
        WatchCache::projected(WatchSpec::all(typed::gvr::<Service>()), View::of).start(client.clone(), context.cancel.clone());
    services.enqueue(&queue);
    let (woken, all) = (queue.clone(), Arc::downgrade(&services));
    // An address that is free again is for one that waits.
    services.on_change(move |change| {
        let had = change.old.map(|service| &service.addresses).filter(|had| !had.is_empty());
        if had.is_some() && had != change.new.map(|service| &service.addresses) {
            all.upgrade().into_iter().flat_map(|services| services.keys()).for_each(|key| woken.add(key));
        }
    });
    let (nodes, slices) = (context.caches.nodes.clone(), context.caches.slices.clone());
    let (woken, all) = (queue.clone(), Arc::downgrade(&services));
    nodes.on_change(move |change| {
        if change.old.and_then(answering) != change.new.and_then(answering) {
            all.upgrade().into_iter().flat_map(|services| services.keys()).for_each(|key| woken.add(key));
        }
    });
    let (woken, all) = (queue.clone(), Arc::downgrade(&services));
    slices.on_change(move |change| {
        let head = change.new.or(change.old).map(|slice| slice.head());
        let service = head.and_then(|head| Some(ObjectRef::new(head.namespace.clone(), head.labels.get(SERVICE_NAME)?.clone())));
        if let (Some(key), Some(services)) = (service, all.upgrade())
            && services.get(&key).is_some_and(|service| service.is_local)
        {
            woken.add(key);
        }
    });
    let recorder = Recorder::start(client.clone(), context.clock.clone(), ACCOUNT, "");
    let pool = context.balancer_addresses.clone();
    let reconciler = LoadBalancers { client, recorder, pool, services, nodes, slices, given: Mutex::default() };
    context.run(Controller::new("load-balancers", queue, Arc::new(reconciler)));
}

/// A Service that has an address of the pool, or should have one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    /// It should have one.
    is_balanced: bool,
    is_local: bool,
    /// Whether each is IPv4, the primary one first.
    families: Vec<bool>,
    wished: Option<IpAddr>,
    addresses: Vec<IpAddr>,
    announced_by: Option<String>,
}

impl View {
    fn of(object: &Arc<Object>) -> Option<Self> {
        let service = typed::view::<Service>(object).ok()?;
        let spec = service.spec.as_ref()?;
        let ingress =
            service.status.iter().flat_map(|status| status.load_balancer.iter().flat_map(|b| b.ingress.iter().flatten()));
        let announced_by = service.metadata.annotations.as_ref().and_then(|all| all.get(ANNOUNCED_BY).cloned());
        let is_kept = service.metadata.deletion_timestamp.is_none();
        let is_balanced = is_kept && spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none();
        (is_balanced || announced_by.is_some()).then(|| Self {
            is_balanced,
            is_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            wished: spec.load_balancer_ip.as_deref().and_then(|wished| wished.parse().ok()),
            families: spec.ip_families.as_deref().map_or_else(|| vec![true], |all| all.iter().map(|f| f == "IPv4").collect()),
            addresses: ingress.filter_map(|ingress| ingress.ip.as_deref()?.parse().ok()).collect(),
            announced_by,
        })
    }
}

struct LoadBalancers {
    client: Arc<dyn Client>,
    recorder: Recorder,
    pool: AddressPool,
    services: Arc<WatchCache<View>>,
    nodes: Arc<WatchCache>,
    slices: Arc<WatchCache>,
    /// What was given by this process: the cache may not know yet.
    given: Mutex<BTreeMap<ObjectRef, Vec<IpAddr>>>,
}

#[async_trait]
impl Reconciler for LoadBalancers {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        self.services.synced().await;
        let client = self.client.as_ref();
        // As it is now: what was given last may not be in the cache yet.
        let stored = typed::get_object::<Service>(client, &key.namespace, &key.name).await?;
        let Some((stored, view)) = stored.and_then(|stored| Some((stored.clone(), View::of(&stored)?))) else {
            self.given.lock().remove(&key);
            return Ok(Action::Done);
        };
        let (addresses, node) = if view.is_balanced {
            match self.allocate(&key, &view) {
                Ok(addresses) => {
                    let node = addresses.first().and_then(|address| self.announcer(&key, &view, *address));
                    (addresses, node)
                }
                Err(refusal) => {
                    let service = typed::view::<Service>(&stored)?;
                    self.recorder.warning(&reference(service.as_ref()), "AllocationFailed", refusal.to_string());
                    (Vec::new(), None)
                }
            }
        } else {
            self.given.lock().remove(&key);
            (Vec::new(), None)
        };
        let done = self.write(&stored, &view, &addresses, node).await;
        match done {
            Err(error) if error.is(Reason::NotFound) => Ok(Action::Done),
            done => done.map(|()| Action::Done),
        }
    }
}

impl LoadBalancers {
    fn allocate(&self, key: &ObjectRef, service: &View) -> Result<Vec<IpAddr>, Refusal> {
        let mut given = self.given.lock();
        given.remove(key);
        let others = self.services.keys().into_iter().filter(|other| other != key);
        let known = others.filter_map(|other| self.services.get(&other)).flat_map(|other| other.addresses.clone());
        let taken = known.chain(given.values().flatten().copied()).collect();
        let addresses = self.pool.allocate(&service.families, &service.addresses, service.wished, &taken)?;
        given.insert(key.clone(), addresses.clone());
        Ok(addresses)
    }

    fn announcer(&self, key: &ObjectRef, service: &View, address: IpAddr) -> Option<String> {
        let with_endpoints = service.is_local.then(|| self.with_endpoints(key));
        let nodes = self.nodes.list();
        let answering = nodes.iter().filter_map(|node| Some((node.head().name.as_str(), answering(node)?)));
        let able = answering.filter(|(node, _)| with_endpoints.as_ref().is_none_or(|with| with.contains(*node)));
        announcer(address, &able.collect::<Vec<_>>()).map(str::to_owned)
    }

    /// The nodes with ready endpoints of a service.
    fn with_endpoints(&self, service: &ObjectRef) -> BTreeSet<String> {
        let slices = self.slices.in_namespace(&service.namespace);
        let own = slices.iter().filter(|slice| slice.head().labels.get(SERVICE_NAME) == Some(&service.name));
        let slices = own.filter_map(|slice| typed::view::<EndpointSlice>(slice).ok());
        let nodes = |slice: Arc<EndpointSlice>| {
            let ready = |conditions: &k8s_openapi::api::discovery::v1::EndpointConditions| conditions.ready.unwrap_or(true);
            let endpoints = slice.endpoints.iter().flatten();
            let ready = endpoints.filter(|endpoint| endpoint.conditions.as_ref().is_none_or(ready));
            ready.filter_map(|endpoint| endpoint.node_name.clone()).collect::<Vec<_>>()
        };
        slices.flat_map(nodes).collect()
    }

    async fn write(&self, stored: &Arc<Object>, is: &View, addresses: &[IpAddr], node: Option<String>) -> Result<(), Error> {
        let client = self.client.as_ref();
        let mut stored = stored.clone();
        if is.announced_by != node {
            let set = |document: &mut Value| match &node {
                Some(node) => document["metadata"]["annotations"][ANNOUNCED_BY] = json!(node),
                None => {
                    if let Some(annotations) = document.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
                        annotations.remove(ANNOUNCED_BY);
                    }
                }
            };
            stored = typed::update::<Service>(client, &stored, set).await?;
        }
        if is.addresses != addresses {
            let ingress: Vec<_> = addresses.iter().map(|address| json!({"ip": address, "ipMode": "VIP"})).collect();
            let balancer = if ingress.is_empty() { json!({}) } else { json!({"ingress": ingress}) };
            let set = |document: &mut Value| document["status"]["loadBalancer"] = balancer;
            typed::update_at::<Service>(client, &stored, "status", set).await?;
            if !addresses.is_empty() {
                let service = typed::view::<Service>(&stored)?;
                let given = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                self.recorder.normal(&reference(service.as_ref()), "IPAllocated", format!("Assigned IP {given}"));
            }
        }
        Ok(())
    }
}

/// The networks of the links on which a node is there to answer.
fn answering(node: &Arc<Object>) -> Option<Links> {
    let node = typed::view::<Node>(node).ok()?;
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions.clone().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let answers = is_ready && node.metadata.labels.as_ref().is_none_or(|labels| !labels.contains_key(EXCLUDED));
    let links = node.metadata.annotations.as_ref().and_then(|annotations| annotations.get(LINK_RANGES));
    answers.then(|| links.map_or(Links::Unknown, |ranges| Links::of(ranges)))
}
