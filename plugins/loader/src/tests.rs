//! The whole loader over a real API in memory; registry and components are the test's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::HeaderMap;
use mizzen_api::{GroupVersionResource, ObjectRef, Registry, Status};
use mizzen_apiserver::auth::{Action, Authorizer, Decision, Identity};
use mizzen_apiserver::virtuals::Virtuals;
use mizzen_apiserver::{ApiServer, Authenticate, Peer, ServerConfig};
use mizzen_client::{ApiRequest, Client, DeleteOptions, PatchKind};
use mizzen_extensions::plugins::{CLUSTER_ADMISSION_POLICIES, GROUP, VERSION};
use mizzen_images::Credentials;
use mizzen_reconcile::{Clock, Controller, Queue, Recorder, SystemClock, WatchCache, WatchSpec};
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::fetch::{Component, Fetch};
use crate::loads::{Loads, Statistics};
use crate::reconcile::{Keeper, Kind, Loading};
use crate::refusal::{PULL_FAILED, Refusal};
use crate::table::{Live, Table};
use crate::wanted::{Terms, Wanted};

struct Permissive;

impl Authorizer for Permissive {
    fn authorize(&self, _user: &Identity, _action: &Action<'_>) -> Decision {
        Decision::Allow { reason: String::new() }
    }
}

impl Authenticate for Permissive {
    fn authenticate(&self, _peer: Option<&Peer>, _headers: &HeaderMap) -> Result<Option<Arc<Identity>>, Status> {
        Ok(None)
    }
}

/// A registry that can go away, and what was once fetched from it.
#[derive(Default)]
struct Shelf {
    registry: Mutex<Option<HashMap<String, Component>>>,
    kept: Mutex<HashMap<String, Component>>,
}

impl Shelf {
    fn push(&self, image: &str, digest: &str) {
        let manifest = format!("sha256:manifest-of-{digest}");
        let component = Component { manifest, digest: digest.to_owned(), path: digest.into(), signer: None };
        self.registry.lock().get_or_insert_default().insert(image.to_owned(), component);
    }
}

#[async_trait]
impl Fetch for Shelf {
    async fn pull(&self, image: &str, _login: &Credentials) -> Result<Component, Refusal> {
        let found = match &*self.registry.lock() {
            Some(registry) => registry.get(image).cloned().ok_or_else(|| Refusal::new(PULL_FAILED, "no such image")),
            None => Err(Refusal::new(PULL_FAILED, "nobody answers")),
        }?;
        let pinned = format!("{}@{}", mizzen_images::repository(image), found.manifest);
        self.kept.lock().extend([(image.to_owned(), found.clone()), (pinned, found.clone())]);
        Ok(found)
    }

    fn kept(&self, image: &str) -> Option<Component> {
        self.kept.lock().get(image).cloned()
    }

    async fn keep_only(&self, _manifests: Vec<String>, _before: SystemTime) {}
}

/// A plugin is what it was made of.
struct Made {
    digest: String,
    settings: String,
}

#[derive(Clone, Default)]
struct Making {
    tries: Arc<Mutex<Vec<String>>>,
    /// Nothing is compiled until somebody lets it.
    compiler: Option<Arc<Semaphore>>,
}

#[async_trait]
impl Loads for Making {
    type Plugin = Made;

    fn is_compiled(&self, component: &Component) -> bool {
        self.compiler.is_none() || self.tries.lock().contains(&component.digest)
    }

    async fn load(&self, _object: &ObjectRef, component: &Component, terms: &Terms) -> Result<Arc<Made>, Refusal> {
        if let Some(compiler) = &self.compiler {
            compiler.acquire().await.expect("is never closed").forget();
        }
        self.tries.lock().push(component.digest.clone());
        if component.digest.contains("truncated") {
            return Err(Refusal::new("NotAComponent", "it ends too early"));
        }
        if terms.settings.contains("bad") {
            return Err(Refusal::new("InvalidSettings", "bad is not good"));
        }
        if component.digest.contains("curious") && !terms.capabilities.contains("context") {
            return Err(Refusal::new("UngrantedImport", "it imports mizzen:policy/context"));
        }
        Ok(Arc::new(Made { digest: component.digest.clone(), settings: terms.settings.clone() }))
    }

    fn statistics(&self, _plugin: &Made) -> Statistics {
        Statistics { calls: 7, ..Statistics::default() }
    }

    fn engage(&self, _object: &ObjectRef, document: &Value, plugin: Option<&Arc<Made>>) -> Result<(), Refusal> {
        match (plugin, document["spec"]["settings"]["nowhere"] == true) {
            (Some(_), true) => Err(Refusal::new("UnknownProfile", "it works nowhere")),
            _ => Ok(()),
        }
    }
}

struct World {
    client: Arc<dyn Client>,
    shelf: Arc<Shelf>,
    making: Making,
    table: Arc<Table<Made>>,
    folder: tempfile::TempDir,
    cancel: CancellationToken,
    _server: Arc<ApiServer>,
}

fn resource() -> GroupVersionResource {
    GroupVersionResource::new(GROUP, VERSION, CLUSTER_ADMISSION_POLICIES)
}

fn kind() -> Kind {
    Kind { resource: resource(), name: "ClusterAdmissionPolicy" }
}

impl World {
    async fn new() -> Self {
        Self::making(Making::default()).await
    }

    async fn making(making: Making) -> Self {
        let server = ApiServer::new(ServerConfig {
            store: Arc::new(MemoryStore::new(HISTORY_BYTES)),
            registry: Arc::new(Registry::builtin()),
            authorizer: Arc::new(Permissive),
            authenticator: Arc::new(Permissive),
            clock: Arc::new(|| SystemClock.now()),
            virtuals: Virtuals::default(),
            connect: None,
        });
        let client = server.client(Identity::component("loader", &["system:masters"]));
        let namespace =
            ApiRequest::create(&GroupVersionResource::new("", "v1", "namespaces"), "", json!({"metadata": {"name": "default"}}));
        client.write(namespace).await.expect("is stored");
        let world = Self {
            client,
            shelf: Arc::default(),
            making,
            table: Arc::default(),
            folder: tempfile::tempdir().expect("makes"),
            cancel: CancellationToken::new(),
            _server: server,
        };
        world.start();
        world
    }

    fn keeper(&self) -> Arc<Keeper<Making>> {
        let folder = self.folder.path().join("policies");
        Arc::new(Keeper::open(&folder, self.shelf.clone(), self.making.clone(), self.table.clone()).expect("opens"))
    }

    fn start(&self) {
        let (client, clock) = (self.client.clone(), Arc::new(SystemClock));
        let objects = WatchCache::objects(WatchSpec::all(resource())).start(client.clone(), self.cancel.clone());
        let queue = Queue::default();
        objects.enqueue(&queue);
        let recorder = Recorder::start(client.clone(), clock.clone(), "test", "");
        let loading = Loading { kind: kind(), client, clock, recorder, objects, keeper: self.keeper(), tries: Mutex::default() };
        tokio::spawn(Controller::new("plugins", queue, Arc::new(loading)).run(self.cancel.clone()));
    }

    /// A new server over the same API and disk: nothing is loaded.
    fn restart(&mut self) {
        self.cancel.cancel();
        self.cancel = CancellationToken::new();
        self.table = Arc::default();
    }

    async fn create(&self, spec: Value) {
        let mut all = json!({"refreshSeconds": 1, "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}});
        all.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
        let object = json!({"metadata": {"name": "p"}, "spec": all});
        self.client.write(ApiRequest::create(&resource(), "", object)).await.expect("is stored");
    }

    async fn patch(&self, spec: Value) {
        let patch = ApiRequest::patch(&resource(), "", "p", PatchKind::Merge, json!({"spec": spec}));
        self.client.write(patch).await.expect("is stored");
    }

    async fn object(&self) -> Value {
        let object = self.client.get(&resource(), "", "p").await.expect("is there");
        object.value().expect("JSON")
    }

    /// Waits until the condition `Ready` has a reason, for the object as it is now.
    async fn ready(&self, reason: &str) -> Value {
        eventually(reason, async || {
            let object = self.object().await;
            let ready = condition(&object, "Ready");
            let is_current = ready["observedGeneration"] == object["metadata"]["generation"];
            (is_current && ready["reason"] == reason).then_some(object)
        })
        .await
    }

    fn live(&self) -> Option<Arc<Live<Made>>> {
        self.table.get(&ObjectRef::cluster("p"))
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let mut all = object["status"]["conditions"].as_array().into_iter().flatten();
    all.find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(60), asking).await {
        Ok(found) => found,
        Err(_) => panic!("not in time: {what}"),
    }
}

const IMAGE: &str = "example.com/p:v1";

#[tokio::test]
async fn what_is_pushed_is_at_work_with_its_settings_and_the_status_says_so() {
    let world = World::new().await;
    world.shelf.push(IMAGE, "sha256:one");
    world.create(json!({"image": IMAGE, "settings": {"a": 1}})).await;
    let object = world.ready("UpToDate").await;
    assert_eq!((object["status"]["digest"].as_str(), object["status"]["calls"].as_i64()), (Some("sha256:one"), Some(7)));
    assert_eq!(condition(&object, "Loaded")["status"], "True");
    let live = world.live().expect("is at work");
    assert_eq!((live.plugin.digest.as_str(), live.plugin.settings.as_str()), ("sha256:one", r#"{"a":1}"#));
}

#[tokio::test]
async fn what_is_loaded_and_works_nowhere_is_not_ready_until_it_does() {
    let world = World::new().await;
    world.shelf.push(IMAGE, "sha256:one");
    world.create(json!({"image": IMAGE, "settings": {"nowhere": true}})).await;
    let object = world.ready("UnknownProfile").await;
    let ready = condition(&object, "Ready");
    assert_eq!((&ready["status"], &ready["message"]), (&json!("False"), &json!("it works nowhere")));
    assert_eq!((&condition(&object, "Loaded")["status"], &object["status"]["digest"]), (&json!("True"), &json!("sha256:one")));
    world.patch(json!({"settings": {"nowhere": null}})).await;
    world.ready("UpToDate").await;
}

#[tokio::test]
async fn a_tag_that_becomes_another_component_swaps_it_and_a_bad_one_does_not() {
    let world = World::new().await;
    world.shelf.push(IMAGE, "sha256:one");
    world.create(json!({"image": IMAGE})).await;
    world.ready("UpToDate").await;
    world.shelf.push(IMAGE, "sha256:two");
    eventually("the second", async || (world.live()?.plugin.digest == "sha256:two").then_some(())).await;
    world.shelf.push(IMAGE, "sha256:truncated");
    let object = world.ready("NotAComponent").await;
    assert_eq!(condition(&object, "Ready")["message"], "it ends too early; sha256:two stays at work");
    assert_eq!(
        (object["status"]["digest"].as_str(), &condition(&object, "Loaded")["status"]),
        (Some("sha256:two"), &json!("True"))
    );
    assert_eq!(world.live().expect("stays").plugin.digest, "sha256:two");
    // Looking again does not compile it again.
    world.shelf.push("example.com/other:v1", "sha256:other");
    world.patch(json!({"image": "example.com/other:v1"})).await;
    world.ready("UpToDate").await;
    assert_eq!(world.making.tries.lock().iter().filter(|digest| digest.contains("truncated")).count(), 1);
}

#[tokio::test]
async fn that_a_component_is_compiled_is_said_meanwhile() {
    let compiler = Arc::new(Semaphore::new(0));
    let world = World::making(Making { compiler: Some(compiler.clone()), ..Making::default() }).await;
    world.shelf.push(IMAGE, "sha256:one");
    world.create(json!({"image": IMAGE})).await;
    let object = world.ready("Compiling").await;
    assert_eq!(condition(&object, "Loaded")["message"], "sha256:one is being compiled");
    assert!(world.live().is_none());
    compiler.add_permits(1);
    world.ready("UpToDate").await;
    world.shelf.push(IMAGE, "sha256:two");
    let object = world.ready("Compiling").await;
    let message = "sha256:two is being compiled; sha256:one stays at work until that is done";
    assert_eq!(condition(&object, "Ready")["message"], message);
    assert_eq!(world.live().expect("stays").plugin.digest, "sha256:one");
    compiler.add_permits(1);
    let object = world.ready("UpToDate").await;
    assert_eq!(object["status"]["digest"], "sha256:two");
}

#[tokio::test]
async fn settings_that_are_not_taken_leave_the_old_ones_at_work_over_a_restart() {
    let mut world = World::new().await;
    world.shelf.push(IMAGE, "sha256:one");
    world.create(json!({"image": IMAGE, "settings": {"a": "good"}})).await;
    world.ready("UpToDate").await;
    world.patch(json!({"settings": {"a": "bad"}})).await;
    world.ready("InvalidSettings").await;
    world.restart();
    *world.shelf.registry.lock() = None;
    Loading::restore(&kind(), &*world.client, &world.keeper()).await;
    assert_eq!(world.live().expect("is taken up").plugin.settings, r#"{"a":"good"}"#);
    world.start();
    world.patch(json!({"settings": {"a": "better"}})).await;
    let object = world.ready("RegistryUnreachable").await;
    assert_eq!(condition(&object, "Ready")["status"], "True");
    assert_eq!(world.live().expect("is at work").plugin.settings, r#"{"a":"better"}"#);
}

#[tokio::test]
async fn what_was_never_there_is_not_loaded_and_says_why() {
    let world = World::new().await;
    world.create(json!({"image": IMAGE})).await;
    let object = world.ready("PullFailed").await;
    assert_eq!(condition(&object, "Loaded")["message"], "nobody answers");
    assert!(world.live().is_none() && object["status"]["digest"].is_null());
    world.shelf.push(IMAGE, "sha256:one");
    world.ready("UpToDate").await;
}

#[tokio::test]
async fn a_capability_that_is_taken_away_ends_the_plugin_at_once() {
    let world = World::new().await;
    world.shelf.push(IMAGE, "sha256:curious");
    world.create(json!({"image": IMAGE, "capabilities": ["context"]})).await;
    world.ready("UpToDate").await;
    world.patch(json!({"capabilities": null})).await;
    let object = world.ready("UngrantedImport").await;
    assert!(world.live().is_none());
    // That something was at work is remembered: whoever fails closed must know.
    assert_eq!(object["status"]["digest"], "sha256:curious");
}

#[tokio::test]
async fn what_an_object_asked_for_goes_with_it_and_another_of_its_name_does_not_inherit() {
    let mut world = World::new().await;
    world.shelf.push(IMAGE, "sha256:one");
    world.create(json!({"image": IMAGE})).await;
    world.ready("UpToDate").await;
    world.restart();
    world.client.write(ApiRequest::delete(&resource(), "", "p", DeleteOptions::default())).await.expect("is deleted");
    *world.shelf.registry.lock() = None;
    world.create(json!({"image": "example.com/another:v1"})).await;
    let object = world.client.get(&resource(), "", "p").await.expect("is there");
    let wanted = Wanted::of(&object).expect("JSON");
    assert!(world.keeper().restore(&ObjectRef::cluster("p"), &wanted).await.is_none());
    world.start();
    world.ready("PullFailed").await;
    assert!(world.live().is_none());
    world.client.write(ApiRequest::delete(&resource(), "", "p", DeleteOptions::default())).await.expect("is deleted");
}

#[tokio::test]
async fn a_reference_by_digest_is_taken_from_the_disk_without_asking() {
    let world = World::new().await;
    world.shelf.push(IMAGE, "sha256:one");
    world.create(json!({"image": IMAGE})).await;
    world.ready("UpToDate").await;
    *world.shelf.registry.lock() = None;
    let pinned = format!("example.com/p@sha256:{}", "0".repeat(64));
    let one = world.shelf.kept(IMAGE).expect("was fetched");
    world.shelf.kept.lock().insert(pinned.clone(), one);
    world.patch(json!({"image": pinned})).await;
    world.ready("UpToDate").await;
    world.cancel.cancel();
}
