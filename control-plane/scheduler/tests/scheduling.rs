//! The scheduler through the real pipeline, as `system:kube-scheduler` with RBAC on. Time is tokio's, paused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use mizzen_api::{GroupVersionResource, Object, Registry, Status};
use mizzen_apiserver::auth::rbac::Rbac;
use mizzen_apiserver::auth::{Identity, bootstrap};
use mizzen_apiserver::virtuals::Virtuals;
use mizzen_apiserver::{ApiServer, Authenticate, Peer, ServerConfig};
use mizzen_client::{
    ApiRequest, ApiResponse, Client, DeleteOptions, ListOptions, ObjectList, PatchKind, WatchOptions, WatchStream,
};
use mizzen_reconcile::Clock;
use mizzen_scheduler::explain::Explainer;
use mizzen_scheduler::framework::{Candidates, Plugin, PluginError, PluginState, Point, Points, Rejection, Scope};
use mizzen_scheduler::pod::PodInfo;
use mizzen_scheduler::profile::{Loaded, ProfileConfig, Profiles};
use mizzen_scheduler::snapshot::Snapshot;
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
    profiles: Arc<Profiles>,
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

/// A message, and that preemption does not help on any of so many nodes.
fn no_victims(message: &str, nodes: usize) -> String {
    format!("{message} preemption: 0/{nodes} nodes are available: {nodes} No preemption victims found for incoming pod.")
}

/// A message, and that no pod's leaving would help on any of so many nodes.
fn not_helpful(message: &str, nodes: usize) -> String {
    format!("{message} preemption: 0/{nodes} nodes are available: {nodes} Preemption is not helpful for scheduling.")
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "a:1", "resources": {"requests": {"cpu": cpu}}}]},
    })
}

impl World {
    async fn start() -> Self {
        Self::with(Vec::new()).await
    }

    async fn with(profiles: Vec<ProfileConfig>) -> Self {
        Self::with_client(profiles, |scheduler, _| scheduler).await
    }

    /// `client_of` makes the scheduler's client from the one that it has otherwise, and the administrator's.
    async fn with_client(
        profiles: Vec<ProfileConfig>,
        client_of: impl FnOnce(Arc<dyn Client>, Arc<dyn Client>) -> Arc<dyn Client>,
    ) -> Self {
        let profiles = Profiles::new(profiles).expect("the profiles are valid");
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
        let scheduler = client_of(server.client(Identity::component("system:kube-scheduler", &[])), client.clone());
        Scheduler::start(SchedulerConfig {
            client: scheduler,
            clock,
            cancel: cancel.clone(),
            profiles: profiles.clone(),
            percentage_of_nodes_to_score: 0,
            seed: 7,
            explainer: Explainer::default(),
        });
        let world = Self { client, cancel, profiles };
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
    let message = not_helpful("0/1 nodes are available: 1 Insufficient cpu.", 1);
    world.unschedulable("a", &message).await;
    world.event("FailedScheduling", &message).await;
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
    world.unschedulable("second", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
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
    world.unschedulable("picky", &not_helpful(message, 3)).await;
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

/// A filter that is loaded at run time: nodes have to have a label.
struct Wants {
    name: String,
    label: &'static str,
}

impl Plugin for Wants {
    fn name(&self) -> &str {
        &self.name
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Filter])
    }

    fn filter(&self, _: &PodInfo, _: &Snapshot, candidates: &mut Candidates<'_>, _: &mut PluginState) {
        let rejected: Vec<usize> =
            candidates.left().filter(|(_, node)| !node.labels.contains_key(self.label)).map(|(at, _)| at).collect();
        rejected.into_iter().for_each(|at| candidates.reject(at, Rejection::new(format!("no {}", self.label))));
    }
}

fn wants(label: &'static str, profiles: &[&str]) -> Loaded {
    let plugin = Arc::new(Wants { name: "label".to_owned(), label });
    let profiles = profiles.iter().map(|name| (*name).to_owned()).collect();
    Loaded { plugin, profiles, points: Points::of(&Point::ALL), weight: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_loaded_swapped_and_unloaded_while_pods_wait() {
    let world = World::start().await;
    world.add_node(node("n1", "8")).await;
    world.profiles.load(wants("gpu", &["default-scheduler"])).expect("is loaded");
    world.create("pods", "default", pod("a", "1")).await;
    world.unschedulable("a", &no_victims("0/1 nodes are available: 1 label: no gpu.", 1)).await;
    world.profiles.load(wants("disk", &["default-scheduler"])).expect("is swapped");
    world.unschedulable("a", &no_victims("0/1 nodes are available: 1 label: no disk.", 1)).await;
    world.profiles.load(wants("kubernetes.io/hostname", &["default-scheduler"])).expect("is swapped");
    assert_eq!(world.node_of("a").await, "n1");
    world.profiles.load(wants("gpu", &["default-scheduler"])).expect("is swapped");
    world.create("pods", "default", pod("b", "1")).await;
    world.unschedulable("b", &no_victims("0/1 nodes are available: 1 label: no gpu.", 1)).await;
    assert!(world.profiles.unload("label"));
    assert_eq!(world.node_of("b").await, "n1");
}

#[tokio::test(start_paused = true)]
async fn a_profile_is_chosen_by_scheduler_name_and_waits_for_plugins_that_it_names() {
    let profiles = json!([{}, {"schedulerName": "picky", "plugins": {"filter": {"enabled": [{"name": "label"}]}}}]);
    let world = World::with(serde_json::from_value(profiles).expect("is valid")).await;
    world.add_node(node("n1", "8")).await;
    let mut picky = pod("picky", "1");
    picky["spec"]["schedulerName"] = json!("picky");
    world.create("pods", "default", picky).await;
    world.unschedulable("picky", "0/1 nodes are available: plugin \"label\" is not loaded.").await;
    world.create("pods", "default", pod("plain", "1")).await;
    assert_eq!(world.node_of("plain").await, "n1", "the other profile does not name it");
    world.profiles.load(wants("gpu", &[])).expect("is loaded");
    let message = no_victims("0/1 nodes are available: 1 label: no gpu.", 1);
    world.unschedulable("picky", &message).await;
    world.event("FailedScheduling", &message).await;
    let label = json!({"metadata": {"labels": {"gpu": "yes"}}});
    world.client.write(ApiRequest::patch(&gvr("nodes"), "", "n1", PatchKind::Merge, label)).await.expect("labels");
    assert_eq!(world.node_of("picky").await, "n1");
}

/// A pod with a class of its own, by which it has its priority.
fn important(name: &str, cpu: &str, class: &str) -> Value {
    let mut important = pod(name, cpu);
    important["spec"]["priorityClassName"] = json!(class);
    important
}

impl World {
    async fn with_classes() -> Self {
        Self::start().await.classes().await
    }

    /// Something comes in between whenever the scheduler writes the status of `pod`.
    async fn with_classes_between(pod: &'static str, then: Then) -> Self {
        let client_of = |scheduler, admin| -> Arc<dyn Client> { Arc::new(Between { scheduler, admin, pod, then }) };
        Self::with_client(Vec::new(), client_of).await.classes().await
    }

    async fn classes(self) -> Self {
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

    async fn until_terminating(&self, name: &str) -> Value {
        self.until("the pod ends", || async {
            let pod = self.pod(name).await;
            pod.pointer("/metadata/deletionTimestamp").is_some().then_some(pod)
        })
        .await
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_higher_priority_makes_others_leave_and_takes_their_place() {
    let world = World::with_classes().await;
    world.add_node(node("n1", "2")).await;
    for name in ["low", "also-low"] {
        world.create("pods", "default", pod(name, "1")).await;
        world.node_of(name).await;
    }
    world.create("pods", "default", important("high", "1", "high")).await;
    let victim = world
        .until("one of them ends", || async {
            for name in ["low", "also-low"] {
                let pod = world.pod(name).await;
                if pod.pointer("/metadata/deletionTimestamp").is_some() {
                    return Some(pod);
                }
            }
            None
        })
        .await;
    let conditions = victim["status"]["conditions"].as_array().expect("has conditions").clone();
    let condition = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").expect("is told why");
    assert_eq!(condition["reason"], "PreemptionByScheduler");
    assert_eq!(condition["message"], "default-scheduler: preempting to accommodate a higher priority pod");
    assert_eq!(victim["metadata"]["deletionGracePeriodSeconds"], 30, "with its own grace");
    let high = world
        .until("its place is reserved", || async {
            let high = world.pod("high").await;
            (high["status"]["nominatedNodeName"] == "n1").then_some(high)
        })
        .await;
    let by = high["metadata"]["uid"].as_str().expect("has a uid");
    world.event("Preempted", &format!("Preempted by pod {by} on node n1")).await;
    // Its room is kept for it, whoever comes meanwhile.
    world.create("pods", "default", pod("late", "1")).await;
    world.unschedulable("late", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.delete("pods", "default", victim["metadata"]["name"].as_str().expect("has a name")).await;
    assert_eq!(world.node_of("high").await, "n1");
    let left = if victim["metadata"]["name"] == "low" { "also-low" } else { "low" };
    assert_eq!(world.pod(left).await.pointer("/metadata/deletionTimestamp"), None, "one was enough");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_preempts_waits() {
    let world = World::with_classes().await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("low", "1")).await;
    world.node_of("low").await;
    world.create("pods", "default", important("polite", "1", "never")).await;
    let message = "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.";
    world.unschedulable("polite", message).await;
    assert_eq!(world.pod("low").await.pointer("/metadata/deletionTimestamp"), None);
}

#[tokio::test(start_paused = true)]
async fn a_nominated_pod_gives_way_to_one_of_a_higher_priority() {
    let world = World::with_classes().await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("low", "1")).await;
    world.node_of("low").await;
    world.create("pods", "default", important("middle", "1", "middle")).await;
    world.until_terminating("low").await;
    world.create("pods", "default", important("high", "1", "high")).await;
    let nominated = |name: &'static str, node: Value| {
        let world = &world;
        async move {
            world
                .until("the nomination", || async {
                    (world.pod(name).await["status"]["nominatedNodeName"] == node).then_some(())
                })
                .await;
        }
    };
    nominated("high", json!("n1")).await;
    nominated("middle", Value::Null).await;
    world.delete("pods", "default", "low").await;
    assert_eq!(world.node_of("high").await, "n1");
    // That nobody is in its way it says only when it has looked at the node with high on it.
    world.unschedulable("middle", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    assert_eq!(world.pod("middle").await["spec"].get("nodeName"), None);
}

/// Whoever is called `held…` gets no leave to be bound.
struct Held;

#[async_trait]
impl Plugin for Held {
    fn name(&self) -> &'static str {
        "held"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::Permit])
    }

    async fn permit(&self, pod: &PodInfo, _: &str) -> Result<(), PluginError> {
        if pod.key.name.starts_with("held") {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl World {
    fn hold(&self) {
        let profiles = vec!["default-scheduler".to_owned()];
        let held = Loaded { plugin: Arc::new(Held), profiles, points: Points::of(&Point::ALL), weight: 0 };
        self.profiles.load(held).expect("is loaded");
    }
}

#[tokio::test(start_paused = true)]
async fn any_number_of_pods_waits_for_leave_and_holds_up_no_other_one() {
    let world = World::start().await;
    world.hold();
    for number in 0..3 {
        world.add_node(node(&format!("n{number}"), "8")).await;
    }
    for number in 0..300 {
        world.create("pods", "default", pod(&format!("held-{number}"), "1m")).await;
    }
    world.create("pods", "default", pod("other", "1m")).await;
    world.node_of("other").await;
    assert_eq!(world.pod("held-0").await["spec"].get("nodeName"), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_waits_for_leave_gives_its_node_to_a_more_important_one_and_stays() {
    let world = World::with_classes().await;
    world.hold();
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("held", "1")).await;
    // It has the room, as another one of its priority finds.
    world.create("pods", "default", pod("second", "1")).await;
    world.unschedulable("second", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    world.create("pods", "default", important("high", "1", "high")).await;
    assert_eq!(world.node_of("high").await, "n1");
    let high = world.pod("high").await;
    let by = high["metadata"]["uid"].as_str().expect("has a uid");
    world.event("Preempted", &format!("Preempted by pod {by} on node n1")).await;
    world.unschedulable("held", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    assert_eq!(world.pod("held").await.pointer("/metadata/deletionTimestamp"), None);
}

/// The API as it is when something comes in between: before a status of `pod` is written, `then` happens.
struct Between {
    scheduler: Arc<dyn Client>,
    admin: Arc<dyn Client>,
    pod: &'static str,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    /// The pod is deleted.
    Delete,
    /// The write fails.
    Fail,
}

#[async_trait]
impl Client for Between {
    async fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        self.scheduler.get(resource, namespace, name).await
    }

    async fn list(&self, of: &GroupVersionResource, namespace: &str, options: &ListOptions) -> Result<ObjectList, Status> {
        self.scheduler.list(of, namespace, options).await
    }

    async fn watch(&self, of: &GroupVersionResource, namespace: &str, options: &WatchOptions) -> Result<WatchStream, Status> {
        self.scheduler.watch(of, namespace, options).await
    }

    async fn write(&self, request: ApiRequest) -> Result<ApiResponse, Status> {
        if request.name == self.pod && request.subresource == "status" {
            match self.then {
                Then::Fail => return Err(Status::internal("not today")),
                Then::Delete => {
                    let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
                    let _ = self.admin.write(ApiRequest::delete(&gvr("pods"), "default", self.pod, options)).await;
                }
            }
        }
        self.scheduler.write(request).await
    }

    async fn discover(&self) -> Result<Arc<mizzen_client::Discovery>, Status> {
        self.scheduler.discover().await
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_ends_for_a_pod_that_is_gone() {
    let world = World::with_classes_between("high", Then::Delete).await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("low", "1")).await;
    world.node_of("low").await;
    world.create("pods", "default", important("high", "1", "high")).await;
    let pods = gvr("pods");
    let high = || world.client.get(&pods, "default", "high");
    world.until("high is gone", || async { high().await.is_err().then_some(()) }).await;
    // All that was done for it is done when another one was decided on; and nothing is kept for it.
    world.create("pods", "default", pod("late", "1")).await;
    world.unschedulable("late", &no_victims("0/1 nodes are available: 1 Insufficient cpu.", 1)).await;
    assert_eq!(world.pod("low").await.pointer("/metadata/deletionTimestamp"), None);
    world.delete("pods", "default", "low").await;
    assert_eq!(world.node_of("late").await, "n1");
}

#[tokio::test(start_paused = true)]
async fn nobody_ends_who_cannot_be_told_why() {
    let world = World::with_classes_between("low", Then::Fail).await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("low", "1")).await;
    world.node_of("low").await;
    world.create("pods", "default", important("high", "1", "high")).await;
    let tried = || async { world.pod("high").await["status"].get("conditions").cloned() };
    world.until("it was tried", || async { tried().await.map(drop) }).await;
    world
        .until("the nomination is taken back", || async {
            world.pod("high").await["status"].get("nominatedNodeName").is_none().then_some(())
        })
        .await;
    assert_eq!(world.pod("low").await.pointer("/metadata/deletionTimestamp"), None);
}

/// Refuses every pod before nodes are asked about.
struct Closed;

impl Plugin for Closed {
    fn name(&self) -> &'static str {
        "closed"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::PreFilter])
    }

    fn pre_filter(&self, _: &PodInfo, _: &Snapshot, _: &mut PluginState) -> Result<Scope, Rejection> {
        Err(Rejection::new("not today"))
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_preempted_for_a_pod_that_is_refused_as_a_whole() {
    let world = World::with_classes().await;
    world.add_node(node("n1", "1")).await;
    world.create("pods", "default", pod("low", "1")).await;
    world.node_of("low").await;
    let profiles = vec!["default-scheduler".to_owned()];
    let closed = Loaded { plugin: Arc::new(Closed), profiles, points: Points::of(&Point::ALL), weight: 0 };
    world.profiles.load(closed).expect("is loaded");
    world.create("pods", "default", important("high", "1", "high")).await;
    world.unschedulable("high", &not_helpful("0/1 nodes are available: closed: not today.", 1)).await;
    assert_eq!(world.pod("low").await.pointer("/metadata/deletionTimestamp"), None);
}
