//! Custom kinds: the definitions in the store are followed, and the registry serves what they say.

mod convert;
mod follow;
mod shared;
mod show;
mod webhook;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mizzen_api::registry::Snapshot;
use mizzen_api::schema::SchemaSet;
use mizzen_api::{Object, Registry, ResourceDescriptor};
use mizzen_extensions::custom::{Served, Source, served};
use mizzen_extensions::versions::by_priority;
use mizzen_extensions::{definition, plugins, reports};
use mizzen_store::Store;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use shared::Shared;

/// What is served for the definitions that there are. Only custom kinds come here.
pub(crate) struct CustomKinds {
    store: Arc<dyn Store>,
    registry: Arc<Registry>,
    /// The registry without custom kinds.
    builtin: Arc<Snapshot>,
    state: Mutex<State>,
    /// The store's revision that definitions were last read at.
    looked: AtomicU64,
    /// What watchers are shown.
    shared: Shared,
}

#[derive(Default)]
struct State {
    /// By the definition's name.
    definitions: HashMap<String, Entry>,
    /// Changes up to this revision are taken over.
    seen: u64,
}

struct Entry {
    read: Definition,
    /// Ends the watches on the kind when it changes or goes.
    life: CancellationToken,
}

/// What one version of a definition says.
struct Definition {
    /// The store's revision of the definition.
    revision: u64,
    /// What watches depend on: a definition that is being deleted still tells how its objects go.
    shape: Digest,
    /// With [`Self::shape`], all that [`served`] looks at.
    is_terminating: bool,
    served: Arc<Served>,
}

/// Of what a definition says: it may be megabytes.
type Digest = [u8; 32];

impl Definition {
    /// Reads a stored definition, for callers that hold no lock.
    fn read(object: &Object) -> Option<Self> {
        let value = object.value().ok()?;
        let established = definition::is_true(&value, "Established");
        let shape = Sha256::digest(format!("[{},{},{established}]", value["spec"], value["status"]["acceptedNames"])).into();
        let is_terminating = !value["metadata"]["deletionTimestamp"].is_null();
        let served = Arc::new(served(&value, &Source::stored(object)));
        Some(Self { revision: object.revision(), shape, is_terminating, served })
    }
}

/// What is served whatever the definitions say.
pub(crate) fn builtin(present: &Snapshot) -> Snapshot {
    let own = [plugins::kinds(), reports::kinds()];
    let mut schemas = SchemaSet::clone(present.schemas());
    let mut descriptors = vec![Arc::new(definition::descriptor())];
    for Served { descriptors: kinds, schemas: shapes, published } in own {
        shapes.iter().for_each(|(name, schema)| schemas.insert_later(name.clone(), schema.clone()));
        published.iter().for_each(|(name, schema)| schemas.publish(name.clone(), schema.clone()));
        descriptors.extend(kinds.iter().cloned());
    }
    present.with(descriptors, Arc::new(schemas))
}

impl CustomKinds {
    /// Serves the definitions that the store has, and follows them on a task of its own until `shutdown`.
    pub(crate) fn start(store: Arc<dyn Store>, registry: Arc<Registry>, shutdown: CancellationToken) -> Arc<Self> {
        let present = registry.snapshot();
        let builtin = Arc::new(builtin(&present));
        let kinds = Arc::new(Self {
            store,
            registry,
            builtin,
            state: Mutex::default(),
            looked: AtomicU64::new(0),
            shared: Shared::default(),
        });
        let revision = kinds.load();
        tokio::spawn(follow::run(kinds.clone(), revision, shutdown));
        kinds
    }

    fn prefix() -> String {
        format!("/registry/{}/{}/", definition::GROUP, definition::RESOURCE)
    }

    /// Takes over what is in the store and not served yet: who just saw a definition established asks for its kind a moment
    /// before the change is followed here. Nothing is read as long as the store has not changed since the last time.
    pub(crate) fn catch_up(&self) {
        if self.looked.load(Ordering::Acquire) != self.store.revision() {
            self.load();
        }
    }

    /// Makes the registry serve what the definitions say.
    fn publish(&self, state: &State) {
        let definitions = &state.definitions;
        let mut descriptors: Vec<Arc<ResourceDescriptor>> = Vec::new();
        let mut schemas = SchemaSet::clone(self.builtin.schemas());
        for entry in definitions.values() {
            descriptors.extend(entry.read.served.descriptors.iter().cloned());
            for (name, schema) in &entry.read.served.schemas {
                schemas.insert_later(name.clone(), schema.clone());
            }
            for (name, published) in &entry.read.served.published {
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
    fn take(&mut self, name: &str, read: Option<Definition>) -> bool {
        let definitions = &mut self.definitions;
        let Some(read) = read else {
            return definitions.remove(name).is_some_and(|gone| {
                gone.life.cancel();
                true
            });
        };
        let life = match definitions.get_mut(name) {
            Some(entry) if entry.read.shape == read.shape => {
                if entry.read.is_terminating == read.is_terminating {
                    entry.read.revision = read.revision;
                    return false;
                }
                entry.life.clone()
            }
            Some(entry) => {
                entry.life.cancel();
                CancellationToken::new()
            }
            None => CancellationToken::new(),
        };
        definitions.insert(name.to_owned(), Entry { read, life });
        true
    }
}
