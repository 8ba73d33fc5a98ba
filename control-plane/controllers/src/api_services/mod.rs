//! APIServices that the server keeps itself: one for each group version that it answers for, built in or custom. Built-in
//! ones are put right when the controllers start, those of custom kinds at any time; who takes the label off keeps theirs.

mod decide;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use mizzen_api::api_services;
use mizzen_api::pick::Pick;
use mizzen_api::{GroupVersionResource, Object, ObjectRef, Reason, Status};
use mizzen_client::{ApiRequest, Client, DeleteOptions};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec};
use parking_lot::Mutex;
use serde_json::Value;

use crate::context::Context;
use decide::{Present, Step, Wanted, step};

const ACCOUNT: &str = "api-service-registration-controller";

fn definitions() -> GroupVersionResource {
    GroupVersionResource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions")
}

/// What matters here of a definition: its group and the versions that are served. Whether its names are accepted does not.
struct Served {
    group: String,
    versions: Vec<String>,
}

impl Served {
    fn of(definition: &Arc<Object>) -> Option<Self> {
        static PARTS: LazyLock<Pick> =
            LazyLock::new(|| Pick::of(["/spec/group", "/spec/versions/name", "/spec/versions/served"]));
        let value = definition.pick(&PARTS).ok()?;
        let versions = value.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
        let served = versions.filter(|version| version["served"] == true).filter_map(|version| version["name"].as_str());
        Some(Self { group: value.pointer("/spec/group")?.as_str()?.to_owned(), versions: served.map(str::to_owned).collect() })
    }

    fn keys(&self) -> Vec<ObjectRef> {
        self.versions.iter().map(|version| ObjectRef::cluster(api_services::name(&self.group, version))).collect()
    }
}

pub(crate) fn start(context: &Context) {
    let client = context.client(ACCOUNT);
    let queue = Queue::default();
    let present = WatchCache::objects(WatchSpec::all(api_services::resource())).start(client.clone(), context.cancel.clone());
    let definitions =
        WatchCache::projected(WatchSpec::all(definitions()), Served::of).start(client.clone(), context.cancel.clone());
    present.enqueue(&queue);
    definitions.enqueue_mapped(&queue, Served::keys);
    for (group, version, _) in api_services::builtin() {
        queue.add(ObjectRef::cluster(api_services::name(group, version)));
    }
    let registration = Registration { client, present, definitions, at_start: Mutex::default(), settled: Mutex::default() };
    context.run(Controller::new("api-service-registration", queue, Arc::new(registration)));
}

struct Registration {
    client: Arc<dyn Client>,
    present: Arc<WatchCache>,
    definitions: Arc<WatchCache<Served>>,
    /// The APIServices that were there when this began to look.
    at_start: Mutex<Option<HashSet<String>>>,
    /// Those that were in order once since then.
    settled: Mutex<HashSet<String>>,
}

#[async_trait]
impl Reconciler for Registration {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        self.present.synced().await;
        // Before the definitions are known, every custom version would look like one that is gone.
        self.definitions.synced().await;
        let was_there = self.was_at_start(&key.name);
        let was_settled = self.settled.lock().contains(&key.name);
        let stored = self.present.get(&key);
        let value = stored.as_ref().map(|stored| decoded(stored)).transpose()?;
        let present = value.as_ref().map(|value| Present { value, was_there });
        let wanted = self.wanted(&key.name);
        let done = match step(present, wanted.as_ref(), was_settled) {
            Step::Nothing => Ok(()),
            Step::Create(object) => {
                self.write(ApiRequest::create(&api_services::resource(), "", object), "create", &key.name).await
            }
            Step::Update(spec) => {
                let mut document = value.clone().unwrap_or_default();
                document["spec"] = spec;
                let request = ApiRequest::update(&api_services::resource(), "", &key.name, document);
                self.write(request, "update", &key.name).await
            }
            Step::Delete => {
                let uid = stored.as_ref().map(|stored| stored.head().uid.clone());
                let options = DeleteOptions { uid, ..DeleteOptions::default() };
                self.write(ApiRequest::delete(&api_services::resource(), "", &key.name, options), "delete", &key.name).await
            }
        };
        done?;
        self.settled.lock().insert(key.name);
        Ok(Action::Done)
    }
}

impl Registration {
    fn was_at_start(&self, name: &str) -> bool {
        let mut at_start = self.at_start.lock();
        at_start.get_or_insert_with(|| self.present.keys().into_iter().map(|key| key.name).collect()).contains(name)
    }

    /// What the server would have under a name.
    fn wanted(&self, name: &str) -> Option<Wanted> {
        if let Some((group, version, priority)) =
            api_services::builtin().find(|(group, version, _)| api_services::name(group, version) == name)
        {
            return Some(Wanted {
                group: group.to_owned(),
                version: version.to_owned(),
                priority,
                managed: api_services::ON_START,
            });
        }
        let (version, group) = name.split_once('.')?;
        let serves = |served: &Arc<Served>| served.group == group && served.versions.iter().any(|known| known == version);
        self.definitions.list().iter().any(serves).then(|| Wanted {
            group: group.to_owned(),
            version: version.to_owned(),
            priority: api_services::Priority::CUSTOM,
            managed: api_services::ALWAYS,
        })
    }

    /// What others did meanwhile is looked at when the cache tells of it.
    async fn write(&self, request: ApiRequest, verb: &str, name: &str) -> Result<(), Error> {
        let passed =
            |status: &Status| [Reason::AlreadyExists, Reason::NotFound, Reason::Conflict].iter().any(|why| status.is(*why));
        match self.client.write(request).await {
            Ok(_) => Ok(()),
            Err(status) if passed(&status) => Ok(()),
            Err(status) => Err(Error::api(format!("{verb} apiservice {name}"), status)),
        }
    }
}

fn decoded(object: &Object) -> Result<Value, Error> {
    let operation = || format!("decode apiservice {}", object.head().name);
    object.value().map_err(|source| Error::Decode { operation: operation(), source })
}
