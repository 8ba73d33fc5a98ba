//! A control plane in one process: the real pipeline over a store in memory, RBAC on, all controllers, and nodes that
//! only pretend to run pods. Time is tokio's, paused: minutes pass in milliseconds.

#![allow(dead_code, reason = "not every test that shares this file uses all of it")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use mizzen_api::{GroupVersionResource, Object, Registry, Status};
use mizzen_apiserver::auth::authenticator::Authenticator;
use mizzen_apiserver::auth::certificates::Authority;
use mizzen_apiserver::auth::node::NodeAuthorizer;
use mizzen_apiserver::auth::rbac::Rbac;
use mizzen_apiserver::auth::reviews::Reviews;
use mizzen_apiserver::auth::token_request::TokenRequests;
use mizzen_apiserver::auth::tokens::Tokens;
use mizzen_apiserver::auth::union::Union;
use mizzen_apiserver::auth::{Authorizer, Identity, authenticator, bootstrap, wiring};
use mizzen_apiserver::{ApiServer, Authenticate, Peer, ServerConfig};
use mizzen_client::{
    ApiRequest, ApiResponse, Client, DeleteOptions, Discovery, ListOptions, ObjectList, PatchKind, Propagation, WatchOptions,
    WatchStream,
};
use mizzen_controllers::{AddressPool, Certification, ControllersConfig, FrontProxyTrust, start_all};
use mizzen_reconcile::Clock;
use mizzen_store::{HISTORY_BYTES, MemoryStore, Store};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The time of day as tokio's clock has it.
struct TokioClock {
    epoch: Timestamp,
    start: Instant,
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.epoch + SignedDuration::try_from(self.start.elapsed()).expect("a test is short")
    }
}

struct Nobody;

impl Authenticate for Nobody {
    fn authenticate(&self, _: Option<&Peer>, _: &HeaderMap) -> Result<Option<Arc<Identity>>, Status> {
        Ok(None)
    }
}

pub(crate) struct World {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Images whose pods never get ready.
    pub(crate) broken: Arc<Mutex<HashSet<String>>>,
    /// Nodes that no longer report.
    pub(crate) silent: Arc<Mutex<HashSet<String>>>,
    server: Arc<ApiServer>,
    authority: Arc<Authority>,
    /// How late controllers see what becomes of pods.
    lag: Duration,
    controllers: Mutex<CancellationToken>,
    cancel: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(crate) fn gvr(group: &str, resource: &str) -> GroupVersionResource {
    GroupVersionResource::new(group, "v1", resource)
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with_lag(Duration::ZERO).await
    }

    /// A world whose controllers see what becomes of pods so much later than it happens.
    pub(crate) async fn start_with_lag(lag: Duration) -> Self {
        let clock: Arc<dyn Clock> =
            Arc::new(TokioClock { epoch: Timestamp::from_second(1_700_000_000).expect("in range"), start: Instant::now() });
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(HISTORY_BYTES));
        let cancel = CancellationToken::new();
        let rbac = Rbac::start(store.clone(), cancel.clone()).expect("reads the roles");
        let nodes = NodeAuthorizer::start(store.clone(), cancel.clone()).expect("reads the pods");
        let authorizer: Arc<dyn Authorizer> = Arc::new(Union(vec![nodes, rbac.clone()]));
        let time: mizzen_apiserver::auth::Clock = {
            let clock = clock.clone();
            Arc::new(move || clock.now())
        };
        let tokens = Arc::new(Tokens::generate().expect("a key"));
        let authenticator = Arc::new(Authenticator::new(tokens.clone(), store.clone(), time.clone()));
        let reviews = Arc::new(Reviews { authorizer: authorizer.clone(), rbac, authenticator });
        let tokens = Arc::new(TokenRequests { tokens, store: store.clone(), clock: time.clone() });
        let authority = Arc::new(Authority::generate("test", clock.now()).expect("generates"));
        let server = ApiServer::new(ServerConfig {
            store,
            registry: Arc::new(Registry::builtin()),
            authorizer,
            authenticator: Arc::new(Nobody),
            clock: time,
            virtuals: wiring::virtuals(reviews, tokens),
            connect: None,
        });
        let client = server.client(Identity::component("admin", &["system:masters"]));
        bootstrap::ensure(client.as_ref()).await.expect("the first objects are stored");
        let controllers = Mutex::new(cancel.child_token());
        let world =
            Self { client, clock, broken: Arc::default(), silent: Arc::default(), server, authority, lag, controllers, cancel };
        world.start_controllers();
        for namespace in ["default", "kube-node-lease"] {
            world
                .until("the default service account", || async { world.get("", "serviceaccounts", namespace, "default").await })
                .await;
        }
        world
    }

    fn start_controllers(&self) {
        let (server, lag, authority) = (self.server.clone(), self.lag, self.authority.clone());
        start_all(ControllersConfig {
            client_for: Arc::new(move |name| {
                let client = server.client(authenticator::service_account("kube-system", name, name));
                if lag.is_zero() { client } else { Arc::new(Late { client, lag }) }
            }),
            clock: self.clock.clone(),
            registry: Registry::clone(self.server.registry()),
            root_ca_pem: "the root".to_owned(),
            front_proxy: Some(FrontProxyTrust {
                root_pem: "the front proxy's root".to_owned(),
                name: "front-proxy-client".to_owned(),
            }),
            services: mizzen_api::ServiceAddresses::default(),
            second_pod_range: None,
            balancer_addresses: AddressPool::parse(&["192.0.2.240-192.0.2.241".to_owned()]).expect("a range"),
            api_server: Some(([192, 0, 2, 1], 6443).into()),
            queues: mizzen_reconcile::Queues::default(),
            certification: Certification {
                sign: Arc::new(move |request, usages, lifetime, now| {
                    authority.issue(request, usages, lifetime, now).map_err(|error| error.to_string())
                }),
                longest: jiff::SignedDuration::from_hours(365 * 24),
                reserved: vec!["kubernetes".to_owned()],
            },
            cancel: self.controllers.lock().clone(),
        });
    }

    /// The API as somebody else sees it.
    pub(crate) fn client_of(&self, user: &str, groups: &[&str]) -> Arc<dyn Client> {
        self.server.client(Identity::component(user, groups))
    }

    /// Ends all controllers where they are and starts them anew.
    pub(crate) fn restart_controllers(&self) {
        let old = std::mem::replace(&mut *self.controllers.lock(), self.cancel.child_token());
        old.cancel();
        self.start_controllers();
    }

    /// A node that pretends to run the pods bound to it; pods without a node are bound to the first such node.
    pub(crate) async fn add_node(&self, name: &str) {
        let node = json!({"metadata": {"name": name}, "spec": {}});
        self.create("", "nodes", "", node).await;
        let lease = json!({"metadata": {"name": name}, "spec": {"holderIdentity": name, "leaseDurationSeconds": 40}});
        self.create("coordination.k8s.io", "leases", "kube-node-lease", lease).await;
        let kubelet = Kubelet {
            client: self.client.clone(),
            clock: self.clock.clone(),
            broken: self.broken.clone(),
            silent: self.silent.clone(),
            name: name.to_owned(),
        };
        let cancel = self.cancel.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = kubelet.run() => {}
            }
        });
        self.until("the node is ready and free of taints", || async {
            let node = self.get("", "nodes", "", name).await?;
            let free = node.pointer("/spec/taints").and_then(Value::as_array).is_none_or(Vec::is_empty);
            (condition(&node, "Ready")?["status"] == "True" && free).then_some(())
        })
        .await;
    }

    pub(crate) async fn create(&self, group: &str, resource: &str, namespace: &str, object: Value) -> Value {
        let request = ApiRequest::create(&gvr(group, resource), namespace, object);
        value(&self.client.write(request).await.unwrap_or_else(|status| panic!("create {resource}: {status:?}")).object)
    }

    pub(crate) async fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.client.get(&gvr(group, resource), namespace, name).await.ok().map(|object| value(&object))
    }

    pub(crate) async fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Value> {
        let list = self.client.list(&gvr(group, resource), namespace, &ListOptions::default()).await.expect("lists");
        list.items.iter().map(|object| value(object)).collect()
    }

    pub(crate) async fn patch(&self, group: &str, resource: &str, namespace: &str, name: &str, patch: Value) -> Value {
        let request = ApiRequest::patch(&gvr(group, resource), namespace, name, PatchKind::Merge, patch);
        value(&self.client.write(request).await.unwrap_or_else(|status| panic!("patch {resource} {name}: {status:?}")).object)
    }

    pub(crate) async fn delete(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
        propagation: Option<Propagation>,
    ) {
        let options = DeleteOptions { propagation, ..DeleteOptions::default() };
        let request = ApiRequest::delete(&gvr(group, resource), namespace, name, options);
        self.client.write(request).await.unwrap_or_else(|status| panic!("delete {resource} {name}: {status:?}"));
    }

    /// Waits, for at most an hour of the world's time, until `look` finds something.
    pub(crate) async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let deadline = Instant::now() + Duration::from_secs(3600);
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < deadline, "not within an hour: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A client whose watches of pods lag behind, while all others are prompt.
struct Late {
    client: Arc<dyn Client>,
    lag: Duration,
}

#[async_trait]
impl Client for Late {
    async fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        self.client.get(resource, namespace, name).await
    }

    async fn list(&self, resource: &GroupVersionResource, namespace: &str, options: &ListOptions) -> Result<ObjectList, Status> {
        self.client.list(resource, namespace, options).await
    }

    async fn watch(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut stream = self.client.watch(resource, namespace, options).await?;
        let lag = if &*resource.resource == "pods" { self.lag } else { Duration::ZERO };
        tokio::spawn(async move {
            while let Some(event) = stream.next().await {
                if sender.send((Instant::now() + lag, event)).is_err() {
                    return;
                }
            }
        });
        let late = futures::stream::unfold(receiver, |mut receiver| async move {
            let (at, event) = receiver.recv().await?;
            tokio::time::sleep_until(at).await;
            Some((event, receiver))
        });
        Ok(late.boxed())
    }

    async fn write(&self, request: ApiRequest) -> Result<ApiResponse, Status> {
        self.client.write(request).await
    }

    async fn discover(&self) -> Result<Arc<Discovery>, Status> {
        self.client.discover().await
    }
}

pub(crate) fn value(object: &Object) -> Value {
    object.value().expect("is JSON")
}

pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

struct Kubelet {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    broken: Arc<Mutex<HashSet<String>>>,
    silent: Arc<Mutex<HashSet<String>>>,
    name: String,
}

impl Kubelet {
    async fn run(self) {
        loop {
            if !self.silent.lock().contains(&self.name) {
                self.step().await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn step(&self) {
        let now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let micro = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let lease = json!({"spec": {"renewTime": micro}});
        let lease =
            ApiRequest::patch(&gvr("coordination.k8s.io", "leases"), "kube-node-lease", &self.name, PatchKind::Merge, lease);
        self.send(lease).await;
        let node = self.client.get(&gvr("", "nodes"), "", &self.name).await.map(|node| value(&node));
        if node.is_ok_and(|node| condition(&node, "Ready").is_none_or(|ready| ready["status"] != "True")) {
            let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": now}]}});
            let ready = ApiRequest::patch(&gvr("", "nodes"), "", &self.name, PatchKind::Strategic, ready);
            self.send(ready.subresource("status")).await;
        }
        let pods = self.client.list(&gvr("", "pods"), "", &ListOptions::default()).await.expect("lists");
        for pod in pods.items {
            let pod = value(&pod);
            match pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or("") {
                "" => self.bind(&pod).await,
                node if node == self.name => self.run_pod(&pod, &now).await,
                _ => {}
            }
        }
    }

    async fn bind(&self, pod: &Value) {
        let (namespace, name) = names(pod);
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": self.name}});
        let mut request = ApiRequest::create(&gvr("", "pods"), namespace, binding).subresource("binding");
        request.name = name.to_owned();
        self.send(request).await;
    }

    async fn run_pod(&self, pod: &Value, now: &str) {
        let (namespace, name) = names(pod);
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
            self.send(ApiRequest::delete(&gvr("", "pods"), namespace, name, options)).await;
            return;
        }
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or("");
        let ready = if self.broken.lock().contains(image) { "False" } else { "True" };
        if condition(pod, "Ready").is_some_and(|condition| condition["status"] == ready) {
            return;
        }
        let status = json!({"status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": now}]}});
        let request = ApiRequest::patch(&gvr("", "pods"), namespace, name, PatchKind::Strategic, status);
        self.send(request.subresource("status")).await;
    }

    /// Races with the controllers and the test are part of the play.
    async fn send(&self, request: ApiRequest) {
        let _ = self.client.write(request).await;
    }
}

fn names(object: &Value) -> (&str, &str) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    (text("/metadata/namespace"), text("/metadata/name"))
}
