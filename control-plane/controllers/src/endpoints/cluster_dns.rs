//! The service `kube-dns` of `kube-system`, for those who ask for names by its address, and its endpoints: each node that
//! serves names, for its own pods (docs/decisions/0037). A service of that name with a selector is somebody else's, and left
//! alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use mizzen_api::node_annotations::DNS_ADDRESS;
use mizzen_api::{Object, ObjectRef, Reason};
use mizzen_client::ApiRequest;
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, typed};
use serde_json::{Value, json};

use super::slices::keep::{self, Keeper, Meta};
use super::slices::plan::Group;
use super::{SERVICE_NAME, SLICE_MANAGED_BY, ServiceView};
use crate::claim;
use crate::context::Context;

const ACCOUNT: &str = "cluster-dns-controller";
const MANAGER: &str = "cluster-dns.mizzen.dev";
const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-dns";
/// Which address of the range the service has, as everywhere.
const TENTH: u32 = 10;
const PORT: i32 = 53;
const MAX_ENDPOINTS: usize = 100;

pub(super) fn start(context: &Context) {
    let queue = Queue::default();
    let key = ObjectRef::new(NAMESPACE, NAME);
    queue.add(key.clone());
    let caches = &context.caches;
    let again = queue.clone();
    let service = key.clone();
    caches.services.on_change(move |change| {
        if *change.key == service {
            again.add(service.clone());
        }
    });
    // A node tells how it is every few seconds: where it serves names stays as it is.
    let again = queue.clone();
    caches.nodes.on_change(move |change| {
        if change.old.and_then(|node| address(node)) != change.new.and_then(|node| address(node)) {
            again.add(key.clone());
        }
    });
    keep::wake_by_slices(&caches.slices, &queue, MANAGER);
    let client = context.client(ACCOUNT);
    let keeper = Keeper { client, slices: caches.slices.clone(), manager: MANAGER, max_endpoints: MAX_ENDPOINTS };
    let (services, nodes) = (caches.services.clone(), caches.nodes.clone());
    let address = context.services.range.nth(TENTH);
    context.run(Controller::new("cluster-dns", queue, Arc::new(ClusterDns { keeper, services, nodes, address })));
}

struct ClusterDns {
    keeper: Keeper,
    services: Arc<WatchCache<ServiceView>>,
    nodes: Arc<WatchCache<Object>>,
    /// `None` where the range is too small to have it.
    address: Option<IpAddr>,
}

#[async_trait]
impl Reconciler for ClusterDns {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(service) = self.services.get(&key) else {
            self.create().await?;
            return Ok(Action::Done);
        };
        if service.has_selector() {
            self.keeper.clear(&key).await?;
            return Ok(Action::Done);
        }
        let nodes = self.nodes.list();
        self.keeper.keep(&key, &meta(&service), &groups(&nodes)).await?;
        Ok(Action::Done)
    }
}

impl ClusterDns {
    /// With its own address, or any other where somebody has that already.
    async fn create(&self) -> Result<(), Error> {
        let refused = match self.create_at(self.address).await {
            Err(error) if self.address.is_some() && error.is(Reason::Invalid) => error,
            created => return created,
        };
        tracing::warn!(error = %refused, "the service of names gets another address");
        self.create_at(None).await
    }

    async fn create_at(&self, address: Option<IpAddr>) -> Result<(), Error> {
        let request = ApiRequest::create(&typed::gvr::<Service>(), NAMESPACE, service(address));
        match self.keeper.client.write(request).await {
            Ok(_) => Ok(()),
            // The cache has not seen it yet.
            Err(status) if status.is(Reason::AlreadyExists) => Ok(()),
            Err(status) => Err(Error::api(format!("create services {NAME}"), status)),
        }
    }
}

/// A node answers for its own pods only.
fn service(address: Option<IpAddr>) -> Value {
    let mut service = json!({
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {
            "k8s-app": NAME, "kubernetes.io/name": "CoreDNS", "kubernetes.io/cluster-service": "true"}},
        "spec": {"type": "ClusterIP", "internalTrafficPolicy": "Local", "ports": [
            {"name": "dns", "port": PORT, "protocol": "UDP", "targetPort": PORT},
            {"name": "dns-tcp", "port": PORT, "protocol": "TCP", "targetPort": PORT},
        ]},
    });
    if let Some(address) = address {
        service["spec"]["clusterIP"] = json!(address);
    }
    service
}

fn address(node: &Object) -> Option<IpAddr> {
    let node = typed::view::<Node>(node).ok()?;
    node.metadata.annotations.as_ref()?.get(DNS_ADDRESS)?.parse().ok()
}

fn groups(nodes: &[Arc<Object>]) -> Vec<Group> {
    let endpoints = nodes.iter().filter_map(|node| {
        let address = address(node).filter(IpAddr::is_ipv4)?;
        let conditions = EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) };
        Some(Endpoint {
            addresses: vec![address.to_string()],
            conditions: Some(conditions),
            node_name: Some(node.head().name.clone()),
            ..Endpoint::default()
        })
    });
    let port = |name: &str, protocol: &str| EndpointPort {
        name: Some(name.to_owned()),
        port: Some(PORT),
        protocol: Some(protocol.to_owned()),
        app_protocol: None,
    };
    let ports = vec![port("dns", "UDP"), port("dns-tcp", "TCP")];
    vec![Group { address_type: "IPv4", ports, endpoints: endpoints.collect() }]
}

fn meta(service: &ServiceView) -> Meta {
    let mut labels = (*service.labels).clone();
    labels.insert(SERVICE_NAME.to_owned(), NAME.to_owned());
    labels.insert(SLICE_MANAGED_BY.to_owned(), MANAGER.to_owned());
    Meta {
        labels,
        annotations: BTreeMap::new(),
        owner: claim::controller_reference("v1", "Service", NAME, &service.uid),
        trigger: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, annotations: Value) -> Arc<Object> {
        let metadata = json!({"name": name, "resourceVersion": "1", "annotations": annotations});
        Arc::new(Object::new(json!({"metadata": metadata}).to_string().into_bytes(), 1))
    }

    #[test]
    fn each_node_that_serves_names_is_an_endpoint_of_its_own() {
        let nodes = [
            node("a", json!({DNS_ADDRESS: "10.64.1.1"})),
            node("b", json!({})),
            node("c", json!({DNS_ADDRESS: "nonsense"})),
            node("d", json!({DNS_ADDRESS: "10.64.2.1"})),
        ];
        let groups = groups(&nodes);
        let told = groups[0].endpoints.iter().map(|endpoint| (endpoint.node_name.as_deref(), endpoint.addresses[0].as_str()));
        assert_eq!(told.collect::<Vec<_>>(), [(Some("a"), "10.64.1.1"), (Some("d"), "10.64.2.1")]);
        assert_eq!(groups[0].ports.len(), 2);
    }
}
