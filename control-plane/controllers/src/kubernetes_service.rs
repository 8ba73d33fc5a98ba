//! By what the cluster's own API server is known inside: the service `kubernetes` of `default`, its endpoints, and the range
//! that its address is the first of. Whatever becomes of them, they are put back.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use mizzen_api::{ObjectRef, ServiceAddresses, ServiceRange};
use mizzen_client::{ApiRequest, Client};
use mizzen_reconcile::typed::Kind;
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};
use serde_json::{Value, json};

use crate::context::Context;

const ACCOUNT: &str = "kubernetes-service-controller";
const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";

pub(crate) fn start(context: &Context) {
    let client = context.client(ACCOUNT);
    let queue = Queue::default();
    let key = ObjectRef::new(NAMESPACE, NAME);
    queue.add(key.clone());
    let caches = &context.caches;
    wake(&caches.services, &queue, key.clone());
    wake(&caches.slices, &queue, key.clone());
    wake(&caches.endpoints, &queue, key.clone());
    let ranges =
        WatchCache::projected(WatchSpec::all(typed::gvr::<ServiceCIDR>()).fields("metadata.name=kubernetes"), |_| Some(()))
            .start(client.clone(), context.cancel.clone());
    let (again, cluster) = (queue.clone(), key);
    ranges.on_change(move |_| again.add(cluster.clone()));
    let reconciler = KubernetesService { client, services: context.services, server: context.api_server };
    context.run(Controller::new("kubernetes-service", queue, Arc::new(reconciler)));
}

fn wake<T: Send + Sync + 'static>(cache: &WatchCache<T>, queue: &Queue, key: ObjectRef) {
    let queue = queue.clone();
    cache.on_change(move |change| {
        if *change.key == key {
            queue.add(key.clone());
        }
    });
}

struct KubernetesService {
    client: Arc<dyn Client>,
    services: ServiceAddresses,
    /// Where pods reach the API server; `None` when it listens where they do not.
    server: Option<SocketAddr>,
}

#[async_trait]
impl Reconciler for KubernetesService {
    async fn reconcile(&self, _key: ObjectRef) -> Result<Action, Error> {
        let ranges: Vec<_> = self.services.ranges().map(|range| range.to_string()).collect();
        let ranges = json!({"metadata": {"name": NAME}, "spec": {"cidrs": ranges}});
        // The range of a cluster stays as it was first: services have their addresses of it. A second one may join it.
        let joins: &[&str] = if self.lacks_second().await? { &["/spec/cidrs"] } else { &[] };
        self.put_back::<ServiceCIDR>("", ranges, joins).await?;
        let port = self.server.map_or(443, |server| server.port());
        self.put_back::<Service>(NAMESPACE, service(self.services.range, port), &["/spec/ports"]).await?;
        if let Some(server) = self.server {
            self.put_back::<Endpoints>(NAMESPACE, endpoints(server), &["/subsets"]).await?;
            self.put_back::<EndpointSlice>(NAMESPACE, slice(server), &["/endpoints", "/ports"]).await?;
        }
        Ok(Action::Done)
    }
}

impl KubernetesService {
    /// Whether the cluster has a second range, and its ServiceCIDR only the first.
    async fn lacks_second(&self) -> Result<bool, Error> {
        let stored = typed::get::<ServiceCIDR>(self.client.as_ref(), "", NAME).await?;
        let cidrs = stored.and_then(|stored| stored.spec.clone()?.cidrs).unwrap_or_default();
        Ok(self.services.second.is_some() && cidrs == [self.services.range.to_string()])
    }

    /// Creates what is missing, and puts right what stands at `pointers` and the labels.
    async fn put_back<K: Kind>(&self, namespace: &str, wanted: Value, pointers: &[&str]) -> Result<(), Error> {
        let client = self.client.as_ref();
        let Some(stored) = typed::get_object::<K>(client, namespace, NAME).await? else {
            let request = ApiRequest::create(&typed::gvr::<K>(), namespace, wanted);
            let failed = |status| Error::api(format!("create {} {NAME}", K::URL_PATH_SEGMENT), status);
            return client.write(request).await.map(drop).map_err(failed);
        };
        let present = stored.value().map_err(|source| Error::Decode { operation: format!("decode {NAME}"), source })?;
        let labels = wanted.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
        let unlabelled: Vec<_> = labels.filter(|(key, value)| present["metadata"]["labels"].get(key) != Some(value)).collect();
        let wrong: Vec<_> = pointers.iter().filter(|pointer| present.pointer(pointer) != wanted.pointer(pointer)).collect();
        if unlabelled.is_empty() && wrong.is_empty() {
            return Ok(());
        }
        let right = |document: &mut Value| {
            for (key, value) in unlabelled {
                document["metadata"]["labels"][key] = value.clone();
            }
            for pointer in wrong {
                let value = wanted.pointer(pointer).cloned().unwrap_or_default();
                match pointer.rsplit_once('/') {
                    Some(("", field)) => document[field] = value,
                    Some((parent, field)) => {
                        if let Some(parent) = document.pointer_mut(parent) {
                            parent[field] = value;
                        }
                    }
                    None => {}
                }
            }
        };
        typed::update::<K>(client, &stored, right).await.map(drop)
    }
}

fn service(range: ServiceRange, port: u16) -> Value {
    json!({
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"type": "ClusterIP", "clusterIP": range.first(), "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]},
    })
}

fn endpoints(server: SocketAddr) -> Value {
    json!({
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": server.ip()}], "ports": [{"name": "https", "port": server.port(), "protocol": "TCP"}]}],
    })
}

fn slice(server: SocketAddr) -> Value {
    json!({
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": if server.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [server.ip()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": server.port(), "protocol": "TCP"}],
    })
}
