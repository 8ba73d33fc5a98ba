//! An API with a scheduler, as `system:kube-scheduler` with RBAC on, and what tests do in it.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use mizzen_api::{GroupVersionResource, Registry, Status};
use mizzen_apiserver::auth::rbac::Rbac;
use mizzen_apiserver::auth::{Identity, bootstrap};
use mizzen_apiserver::virtuals::Virtuals;
use mizzen_apiserver::{ApiServer, Authenticate, Peer, ServerConfig};
use mizzen_client::{ApiRequest, Client, DeleteOptions, ListOptions, PatchKind};
use mizzen_reconcile::Clock;
use mizzen_scheduler::explain::Explainer;
use mizzen_scheduler::profile::{ProfileConfig, Profiles};
use mizzen_scheduler::{Scheduler, SchedulerConfig};
use mizzen_store::{HISTORY_BYTES, MemoryStore, Store};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let epoch = Timestamp::from_second(1_700_000_000).expect("in range");
        epoch + SignedDuration::try_from(self.0.elapsed()).expect("a test is short")
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
    cancel: CancellationToken,
    pub(crate) profiles: Arc<Profiles>,
    pub(crate) explainer: Explainer,
}

impl Drop for World {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(crate) fn gvr(resource: &str) -> GroupVersionResource {
    GroupVersionResource::new("", "v1", resource)
}

pub(crate) fn node(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}, "capacity": {"cpu": cpu, "memory": "8Gi", "pods": "110"}},
    })
}

/// A message, and that preemption does not help on any of so many nodes.
pub(crate) fn no_victims(message: &str, nodes: usize) -> String {
    format!("{message} preemption: 0/{nodes} nodes are available: {nodes} No preemption victims found for incoming pod.")
}

/// A message, and that no pod's leaving would help on any of so many nodes.
pub(crate) fn not_helpful(message: &str, nodes: usize) -> String {
    format!("{message} preemption: 0/{nodes} nodes are available: {nodes} Preemption is not helpful for scheduling.")
}

pub(crate) fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "a:1", "resources": {"requests": {"cpu": cpu}}}]},
    })
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(Vec::new()).await
    }

    pub(crate) async fn with(profiles: Vec<ProfileConfig>) -> Self {
        Self::with_client(profiles, |scheduler, _| scheduler).await
    }

    /// `client_of` makes the scheduler's client from the one that it has otherwise, and the administrator's.
    pub(crate) async fn with_client(
        profiles: Vec<ProfileConfig>,
        client_of: impl FnOnce(Arc<dyn Client>, Arc<dyn Client>) -> Arc<dyn Client>,
    ) -> Self {
        let profiles = Profiles::new(profiles).expect("the profiles are valid");
        let clock: Arc<dyn Clock> = Arc::new(TokioClock(Instant::now()));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(HISTORY_BYTES));
        let cancel = CancellationToken::new();
        let explainer = Explainer::default();
        let server = ApiServer::new(ServerConfig {
            store: store.clone(),
            registry: Arc::new(Registry::builtin()),
            authorizer: Rbac::start(store, cancel.clone()).expect("reads the roles"),
            authenticator: Arc::new(Nobody),
            clock: {
                let clock = clock.clone();
                Arc::new(move || clock.now())
            },
            virtuals: Virtuals::default(),
            connect: None,
        });
        let client = server.client(Identity::component("admin", &["system:masters"]));
        bootstrap::ensure(client.as_ref()).await.expect("the first objects are stored");
        let scheduler = client_of(server.client(Identity::component("system:kube-scheduler", &[])), client.clone());
        Scheduler::start(SchedulerConfig {
            client: scheduler,
            clock,
            cancel: cancel.clone(),
            profiles: profiles.clone(),
            percentage_of_nodes_to_score: 0,
            seed: 7,
            explainer: explainer.clone(),
        });
        let world = Self { client, cancel, profiles, explainer };
        world.create("serviceaccounts", "default", json!({"metadata": {"name": "default"}})).await;
        world
    }

    pub(crate) async fn create(&self, resource: &str, namespace: &str, object: Value) {
        let request = ApiRequest::create(&gvr(resource), namespace, object);
        self.client.write(request).await.unwrap_or_else(|status| panic!("create {resource}: {status:?}"));
    }

    /// Creates a node the way an agent does: the object first, its status after.
    pub(crate) async fn add_node(&self, node: Value) {
        let name = node["metadata"]["name"].as_str().expect("has a name").to_owned();
        self.create("nodes", "", node.clone()).await;
        let status = json!({"status": node["status"]});
        let request = ApiRequest::patch(&gvr("nodes"), "", &name, PatchKind::Merge, status).subresource("status");
        self.client.write(request).await.expect("the status is written");
    }

    pub(crate) async fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        let request = ApiRequest::delete(&gvr(resource), namespace, name, options);
        self.client.write(request).await.unwrap_or_else(|status| panic!("delete {resource}: {status:?}"));
    }

    pub(crate) async fn pod(&self, name: &str) -> Value {
        self.client.get(&gvr("pods"), "default", name).await.expect("is there").value().expect("is JSON")
    }

    pub(crate) async fn node_of(&self, name: &str) -> String {
        self.until("the pod is bound", || async {
            self.pod(name).await.pointer("/spec/nodeName").and_then(Value::as_str).map(str::to_owned)
        })
        .await
    }

    pub(crate) async fn unschedulable(&self, name: &str, message: &str) {
        self.until(message, || async {
            let pod = self.pod(name).await;
            let conditions = pod.pointer("/status/conditions")?.as_array()?.clone();
            let condition = conditions.into_iter().find(|condition| condition["type"] == "PodScheduled")?;
            (condition["status"] == "False" && condition["reason"] == "Unschedulable" && condition["message"] == message)
                .then_some(())
        })
        .await;
    }

    pub(crate) async fn event(&self, reason: &str, message: &str) {
        self.until(&format!("{reason}: {message}"), || async {
            let events = self.client.list(&gvr("events"), "default", &ListOptions::default()).await.expect("lists");
            let events = events.items.iter().map(|event| event.value().expect("is JSON"));
            events.into_iter().any(|event| event["reason"] == reason && event["message"] == message).then_some(())
        })
        .await;
    }

    pub(crate) async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
        let deadline = Instant::now() + Duration::from_secs(900);
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < deadline, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A pod with a class of its own, by which it has its priority.
pub(crate) fn important(name: &str, cpu: &str, class: &str) -> Value {
    let mut important = pod(name, cpu);
    important["spec"]["priorityClassName"] = json!(class);
    important
}

impl World {
    pub(crate) async fn with_classes() -> Self {
        Self::start().await.classes().await
    }

    pub(crate) async fn classes(self) -> Self {
        let world = self;
        for (name, value) in [("high", 1000), ("middle", 500)] {
            let class = json!({"metadata": {"name": name}, "value": value});
            let classes = GroupVersionResource::new("scheduling.k8s.io", "v1", "priorityclasses");
            world.client.write(ApiRequest::create(&classes, "", class)).await.expect("is created");
        }
        let never = json!({"metadata": {"name": "never"}, "value": 1000, "preemptionPolicy": "Never"});
        let classes = GroupVersionResource::new("scheduling.k8s.io", "v1", "priorityclasses");
        world.client.write(ApiRequest::create(&classes, "", never)).await.expect("is created");
        world
    }

    pub(crate) async fn until_terminating(&self, name: &str) -> Value {
        self.until("the pod ends", || async {
            let pod = self.pod(name).await;
            pod.pointer("/metadata/deletionTimestamp").is_some().then_some(pod)
        })
        .await
    }
}
