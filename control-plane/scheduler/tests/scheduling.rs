//! The scheduler through the real pipeline, as `system:kube-scheduler` with RBAC on. Time is tokio's, paused.

use std::collections::BTreeMap;
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

struct World {
    client: Arc<dyn Client>,
    cancel: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn gvr(resource: &str) -> GroupVersionResource {
    GroupVersionResource::new("", "v1", resource)
}

fn node(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}, "capacity": {"cpu": cpu, "memory": "8Gi", "pods": "110"}},
    })
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "a:1", "resources": {"requests": {"cpu": cpu}}}]},
    })
}

impl World {
    async fn start() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock(Instant::now()));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(HISTORY_BYTES));
        let cancel = CancellationToken::new();
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
        let scheduler = server.client(Identity::component("system:kube-scheduler", &[]));
        Scheduler::start(SchedulerConfig::new(scheduler, clock, cancel.clone(), 7));
        let world = Self { client, cancel };
        world.create("serviceaccounts", "default", json!({"metadata": {"name": "default"}})).await;
        world
    }

    async fn create(&self, resource: &str, namespace: &str, object: Value) {
        let request = ApiRequest::create(&gvr(resource), namespace, object);
        self.client.write(request).await.unwrap_or_else(|status| panic!("create {resource}: {status:?}"));
    }

    /// Creates a node the way an agent does: the object first, its status after.
    async fn add_node(&self, node: Value) {
        let name = node["metadata"]["name"].as_str().expect("has a name").to_owned();
        self.create("nodes", "", node.clone()).await;
        let status = json!({"status": node["status"]});
        let request = ApiRequest::patch(&gvr("nodes"), "", &name, PatchKind::Merge, status).subresource("status");
        self.client.write(request).await.expect("the status is written");
    }

    async fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        let request = ApiRequest::delete(&gvr(resource), namespace, name, options);
        self.client.write(request).await.unwrap_or_else(|status| panic!("delete {resource}: {status:?}"));
    }

    async fn pod(&self, name: &str) -> Value {
        self.client.get(&gvr("pods"), "default", name).await.expect("is there").value().expect("is JSON")
    }

    async fn node_of(&self, name: &str) -> String {
        self.until("the pod is bound", || async {
            self.pod(name).await.pointer("/spec/nodeName").and_then(Value::as_str).map(str::to_owned)
        })
        .await
    }

    async fn unschedulable(&self, name: &str, message: &str) {
        self.until(message, || async {
            let pod = self.pod(name).await;
            let conditions = pod.pointer("/status/conditions")?.as_array()?.clone();
            let condition = conditions.into_iter().find(|condition| condition["type"] == "PodScheduled")?;
            (condition["status"] == "False" && condition["reason"] == "Unschedulable" && condition["message"] == message)
                .then_some(())
        })
        .await;
    }

    async fn event(&self, reason: &str, message: &str) {
        self.until(&format!("{reason}: {message}"), || async {
            let events = self.client.list(&gvr("events"), "default", &ListOptions::default()).await.expect("lists");
            let events = events.items.iter().map(|event| event.value().expect("is JSON"));
            events.into_iter().any(|event| event["reason"] == reason && event["message"] == message).then_some(())
        })
        .await;
    }

    async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, look: impl Fn() -> F) -> T {
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

#[tokio::test(start_paused = true)]
async fn a_pod_without_room_says_why_and_is_bound_when_a_node_comes() {
    let world = World::start().await;
    world.create("pods", "default", pod("a", "2")).await;
    world.unschedulable("a", "no nodes available to schedule pods").await;
    world.add_node(node("small", "1")).await;
    let message = "0/1 nodes are available: 1 Insufficient cpu.";
    world.unschedulable("a", message).await;
    world.event("FailedScheduling", message).await;
    world.add_node(node("large", "4")).await;
    assert_eq!(world.node_of("a").await, "large");
    world.event("Scheduled", "Successfully assigned default/a to large").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_another_one_to_leave() {
    let world = World::start().await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("first", "800m")).await;
    assert_eq!(world.node_of("first").await, "n1");
    world.create("pods", "default", pod("second", "800m")).await;
    world.unschedulable("second", "0/1 nodes are available: 1 Insufficient cpu.").await;
    world.delete("pods", "default", "first").await;
    assert_eq!(world.node_of("second").await, "n1");
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_pods_never_overfills_a_node_and_spreads() {
    let world = World::start().await;
    for name in ["n1", "n2", "n3"] {
        world.add_node(node(name, "2")).await;
    }
    for number in 0..65 {
        world.create("pods", "default", pod(&format!("p{number}"), "100m")).await;
    }
    let count = || async {
        let pods = world.client.list(&gvr("pods"), "default", &ListOptions::default()).await.expect("lists");
        let mut per_node = BTreeMap::new();
        for pod in &pods.items {
            if let Some(node) = pod.value().expect("is JSON").pointer("/spec/nodeName").and_then(Value::as_str) {
                *per_node.entry(node.to_owned()).or_insert(0) += 1;
            }
        }
        per_node
    };
    let full = BTreeMap::from(["n1", "n2", "n3"].map(|name| (name.to_owned(), 20)));
    world.until("the nodes are full", || async { (count().await == full).then_some(()) }).await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(count().await, full, "five pods go on waiting");
}

#[tokio::test(start_paused = true)]
async fn taints_selectors_and_cordons_keep_pods_off_and_are_named() {
    let world = World::start().await;
    let mut tainted = node("tainted", "4");
    tainted["spec"] = json!({"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]});
    let mut cordoned = node("cordoned", "4");
    cordoned["spec"] = json!({"unschedulable": true});
    world.add_node(tainted).await;
    world.add_node(cordoned).await;
    world.add_node(node("plain", "4")).await;
    let mut picky = pod("picky", "1");
    picky["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    world.create("pods", "default", picky).await;
    let message = "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
                   1 node(s) had untolerated taint {dedicated: db}, 1 node(s) were unschedulable.";
    world.unschedulable("picky", message).await;
    let label = json!({"metadata": {"labels": {"disk": "ssd"}}});
    world.client.write(ApiRequest::patch(&gvr("nodes"), "", "plain", PatchKind::Merge, label)).await.expect("labels");
    assert_eq!(world.node_of("picky").await, "plain");
    let mut db = pod("db", "1");
    db["spec"]["tolerations"] = json!([{"key": "dedicated", "operator": "Exists"}]);
    db["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "tainted"});
    world.create("pods", "default", db).await;
    assert_eq!(world.node_of("db").await, "tainted");
}

#[tokio::test(start_paused = true)]
async fn pods_of_another_scheduler_and_gated_pods_are_left_alone() {
    let world = World::start().await;
    world.add_node(node("n1", "4")).await;
    let mut other = pod("other", "1");
    other["spec"]["schedulerName"] = json!("custom");
    world.create("pods", "default", other).await;
    let mut gated = pod("gated", "1");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/wait"}]);
    world.create("pods", "default", gated).await;
    world.create("pods", "default", pod("mine", "1")).await;
    world.node_of("mine").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    for name in ["other", "gated"] {
        assert_eq!(world.pod(name).await["spec"].get("nodeName"), None, "{name}");
    }
    let open = json!({"spec": {"schedulingGates": null}});
    world
        .client
        .write(ApiRequest::patch(&gvr("pods"), "default", "gated", PatchKind::Merge, open))
        .await
        .expect("opens the gate");
    assert_eq!(world.node_of("gated").await, "n1");
}
