//! Custom kinds: the definitions in the store are followed, and the registry serves what they say.

mod convert;
mod follow;
mod show;
mod webhook;

use std::collections::HashMap;
use std::sync::Arc;

use mizzen_api::registry::Snapshot;
use mizzen_api::schema::SchemaSet;
use mizzen_api::{Object, Registry, ResourceDescriptor};
use mizzen_extensions::custom::{Served, served};
use mizzen_extensions::definition;
use mizzen_extensions::versions::by_priority;
use mizzen_store::Store;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// What is served for the definitions that there are. Only custom kinds come here.
pub(crate) struct CustomKinds {
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    /// The registry without custom kinds.
    builtin: Arc<Snapshot>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the definition's name.
    definitions: HashMap<String, Entry>,
    /// Changes up to this revision are taken over.
    seen: u64,
}

struct Entry {
    /// The store's revision of the definition.
    revision: u64,
    /// All that [`served`] looks at.
    said: Value,
    /// What watches depend on: a definition that is being deleted still tells how its objects go.
    shape: Value,
    served: Arc<Served>,
    /// Ends the watches on the kind when it changes or goes.
    life: CancellationToken,
}

impl CustomKinds {
    /// Serves the definitions that the store has, and follows them on a task of its own until `shutdown`.
    pub(crate) fn start(store: Arc<dyn Store>, registry: Arc<Registry>, shutdown: CancellationToken) -> Arc<Self> {
        let present = registry.snapshot();
        let builtin = Arc::new(present.with([Arc::new(definition::descriptor())], present.schemas().clone()));
        let kinds = Arc::new(Self { store, registry, builtin, state: Mutex::default() });
        let (revision, _) = kinds.load();
        tokio::spawn(follow::run(kinds.clone(), revision, shutdown));
        kinds
    }

    fn prefix() -> String {
        format!("/registry/{}/{}/", definition::GROUP, definition::RESOURCE)
    }

    /// Takes over what is in the store and not served yet: who just saw a definition established asks for its kind a moment
    /// before the change is followed here. Tells whether there was something.
    pub(crate) fn catch_up(&self) -> bool {
        self.load().1
    }

    /// Makes the registry serve what the definitions say.
    fn publish(&self, state: &State) {
        let definitions = &state.definitions;
        let mut descriptors: Vec<Arc<ResourceDescriptor>> = Vec::new();
        let mut schemas = SchemaSet::clone(self.builtin.schemas());
        for entry in definitions.values() {
            descriptors.extend(entry.served.descriptors.iter().cloned());
            for (name, schema) in &entry.served.schemas {
                schemas.insert(name.clone(), schema.clone());
            }
            for (name, published) in &entry.served.published {
                schemas.publish(name.clone(), published.clone());
            }
        }
        descriptors.sort_by(|left, right| {
            let versions = by_priority(left.storage_version(), right.storage_version());
            left.group.cmp(&right.group).then(versions).then_with(|| left.resource.cmp(&right.resource))
        });
        self.registry.replace(self.builtin.with(descriptors, Arc::new(schemas)));
    }

    /// Is cancelled when the kind of a watch changes or goes.
    pub(crate) fn life(&self, descriptor: &ResourceDescriptor) -> CancellationToken {
        let definition = descriptor.custom.as_ref().map(|custom| &*custom.definition);
        let life = definition.and_then(|name| Some(self.state.lock().definitions.get(name)?.life.clone()));
        life.unwrap_or_else(|| {
            let gone = CancellationToken::new();
            gone.cancel();
            gone
        })
    }
}

impl State {
    /// Takes over what a definition says now; `None` when it is gone. Tells whether that changes what is served.
    fn take(&mut self, name: &str, object: Option<&Object>) -> bool {
        let definitions = &mut self.definitions;
        if let (Some(entry), Some(object)) = (definitions.get(name), object)
            && entry.revision == object.revision()
        {
            return false;
        }
        let value = object.and_then(|object| Some((object.revision(), object.value().ok()?)));
        let Some((revision, value)) = value else {
            return definitions.remove(name).is_some_and(|gone| {
                gone.life.cancel();
                true
            });
        };
        let established = definition::is_true(&value, "Established");
        let shape = json!([value["spec"], value["status"]["acceptedNames"], established]);
        let said = json!([shape, value["metadata"]["deletionTimestamp"]]);
        if let Some(entry) = definitions.get_mut(name).filter(|entry| entry.said == said) {
            entry.revision = revision;
            return false;
        }
        let life = match definitions.get(name) {
            Some(entry) if entry.shape == shape => entry.life.clone(),
            Some(entry) => {
                entry.life.cancel();
                CancellationToken::new()
            }
            None => CancellationToken::new(),
        };
        let entry = Entry { revision, said, shape, served: Arc::new(served(&value)), life };
        definitions.insert(name.to_owned(), entry);
        true
    }
}
