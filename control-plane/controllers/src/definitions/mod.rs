//! CustomResourceDefinitions: their names are accepted, they are established, and when they go their objects go first.

mod finalize;
mod naming;
mod status;

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use mizzen_api::pick::Pick;
use mizzen_api::{GroupVersionResource, Object, ObjectRef, Reason};
use mizzen_client::{ApiRequest, Client, ListOptions};
use mizzen_reconcile::{Action, Clock, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec};
use serde_json::Value;

use crate::context::Context;

const NAME: &str = "custom-resource-definition-controller";
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

fn resource() -> GroupVersionResource {
    GroupVersionResource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions")
}

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let definitions = WatchCache::objects(WatchSpec::all(resource())).start(client.clone(), context.cancel.clone());
    let (wake, all) = (queue.clone(), definitions.clone());
    // A definition that changes or goes may free names that others of its group wait for.
    definitions.on_change(move |change| {
        wake.add(change.key.clone());
        let waits = |key: &ObjectRef| key != change.key && group_of(&key.name) == group_of(&change.key.name);
        all.keys().into_iter().filter(waits).for_each(|key| wake.add(key));
    });
    // One worker: names are given one after the other.
    context.run(Controller::new("definitions", queue, Arc::new(Definitions { client, clock: context.clock.clone() })));
}

struct Definitions {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Reconciler for Definitions {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let definition = match self.client.get(&resource(), "", &key.name).await {
            Ok(definition) => definition,
            Err(status) if status.is(Reason::NotFound) => return Ok(Action::Done),
            Err(status) => return Err(Error::api(format!("get customresourcedefinition {}", key.name), status)),
        };
        if definition.head().is_terminating() {
            return match definition.head().finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
                true => self.finalize(&definition, decoded(&definition)?).await,
                false => Ok(Action::Done),
            };
        }
        if is_settled(&names(&definition)?) {
            return Ok(Action::Done);
        }
        // Names given a moment ago count, so this looks at the API and not at a cache.
        let all = self.client.list(&resource(), "", &ListOptions::default()).await;
        let all = all.map_err(|status| Error::api("list customresourcedefinitions", status))?.items;
        let is_other = |name: &str| name != key.name && group_of(name) == group_of(&key.name);
        let others = all.iter().filter(|object| is_other(&object.head().name));
        let others = others.map(|object| names(object)).collect::<Result<Vec<_>, _>>()?;
        let value = decoded(&definition)?;
        let decided = naming::decide(&value, &others);
        let mut named = value.clone();
        status::set_names(&mut named, decided.names);
        let now = self.clock.now();
        status::set(&mut named, now, &decided.accepted);
        if decided.is_established {
            status::set(&mut named, now, &status::established());
        } else if !status::is_true(&value, "Established") {
            status::set(&mut named, now, &status::not_accepted());
        }
        if named != value {
            self.update_status(&key.name, named).await?;
        }
        Ok(Action::Done)
    }
}

impl Definitions {
    async fn update_status(&self, name: &str, definition: Value) -> Result<Arc<Object>, Error> {
        let request = ApiRequest::update(&resource(), "", name, definition).subresource("status");
        let written = self.client.write(request).await;
        Ok(written.map_err(|status| Error::api(format!("update the status of customresourcedefinition {name}"), status))?.object)
    }
}

/// Whether the definition has all names that it asks for, and is served.
fn is_settled(definition: &Value) -> bool {
    definition["spec"]["names"] == definition["status"]["acceptedNames"]
        && status::is_true(definition, "NamesAccepted")
        && status::is_true(definition, "Established")
}

/// A definition is called by its plural and its group.
fn group_of(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, group)| group)
}

/// What a definition says of its names, without its schemas: they are large, and there may be hundreds.
fn names(object: &Object) -> Result<Value, Error> {
    static NAMES: LazyLock<Pick> = LazyLock::new(|| Pick::of(["/spec/group", "/spec/names", "/status"]));
    object.pick(&NAMES).map_err(|source| Error::Decode { operation: operation(object), source })
}

fn operation(object: &Object) -> String {
    format!("decode customresourcedefinition {}", object.head().name)
}

fn decoded(object: &Object) -> Result<Value, Error> {
    object.value().map_err(|source| Error::Decode { operation: operation(object), source })
}

/// Whether an error only says that the object changed or went meanwhile: then it is looked at again.
fn is_passed(error: &Error) -> bool {
    error.is(Reason::NotFound)
}
