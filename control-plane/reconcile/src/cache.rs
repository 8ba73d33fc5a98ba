//! A mirror of one resource, kept by list and watch.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use mizzen_api::{GroupVersionResource, Object, ObjectRef, Reason, Status};
use mizzen_client::{Client, ListOptions, WatchEvent, WatchOptions};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::store::{Index, Store};
use crate::{Backoff, Queue};

/// What to mirror.
#[derive(Clone, Debug)]
pub struct WatchSpec {
    pub resource: GroupVersionResource,
    /// Empty: all namespaces.
    pub namespace: String,
    pub label_selector: String,
    pub field_selector: String,
}

impl WatchSpec {
    pub fn all(resource: GroupVersionResource) -> Self {
        Self { resource, namespace: String::new(), label_selector: String::new(), field_selector: String::new() }
    }

    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.label_selector);
        self
    }

    #[must_use]
    pub fn fields(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.field_selector);
        self
    }
}

/// One change as the cache saw it: `old` is what it held before, `new` what it holds now. Meant for finding out which
/// keys a change concerns (also the former owner's); by the time anyone acts, the cache may be further on.
pub struct Change<'a, T> {
    pub key: &'a ObjectRef,
    pub old: Option<&'a Arc<T>>,
    pub new: Option<&'a Arc<T>>,
}

type Listener<T> = Box<dyn Fn(&Change<'_, T>) + Send + Sync>;
type Project<T> = Box<dyn Fn(&Arc<Object>) -> Option<Arc<T>> + Send + Sync>;

/// The server is asked to end a watch after so long; the client takes it up where it ended.
const WATCH_SECONDS: u64 = 300;
/// A watch that says nothing for longer than it may last is dead: its connection broke without a sign.
const DEAD: Duration = Duration::from_secs(WATCH_SECONDS + 30);

const RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(10));

/// A mirror of one resource, eventually the same as the server's state. `T` is [`Object`] or a caller's projection.
pub struct WatchCache<T = Object> {
    spec: WatchSpec,
    project: Project<T>,
    store: RwLock<Store<T>>,
    /// Held while a change is applied and told, so that a new listener neither misses nor repeats one.
    listeners: Mutex<Vec<Listener<T>>>,
    synced: watch::Sender<bool>,
}

/// A cache that is not running yet: indices are declared before the first object comes.
pub struct Builder<T> {
    spec: WatchSpec,
    project: Project<T>,
    indices: Vec<Index<T>>,
}

impl<T: Send + Sync + 'static> Builder<T> {
    /// Declares an index for [`WatchCache::by`]: `keys_of` gives the values an object is found under.
    #[must_use]
    pub fn index(mut self, name: &'static str, keys_of: impl Fn(&T) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.indices.push(Index::new(name, Box::new(keys_of)));
        self
    }

    /// Starts to list and watch on a task of its own until `cancel`.
    pub fn start(self, client: Arc<dyn Client>, cancel: CancellationToken) -> Arc<WatchCache<T>> {
        let cache = Arc::new(WatchCache {
            spec: self.spec,
            project: self.project,
            store: RwLock::new(Store::new(self.indices)),
            listeners: Mutex::new(Vec::new()),
            synced: watch::Sender::new(false),
        });
        let running = cache.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = running.run(client.as_ref()) => {}
            }
        });
        cache
    }
}

impl WatchCache<Object> {
    /// A cache of whole documents.
    pub fn objects(spec: WatchSpec) -> Builder<Object> {
        Builder { spec, project: Box::new(|object| Some(object.clone())), indices: Vec::new() }
    }
}

impl<T: Send + Sync + 'static> WatchCache<T> {
    /// A cache of projections: `project` keeps what the caller needs, or nothing (`None`) to leave an object out.
    pub fn projected(spec: WatchSpec, project: impl Fn(&Arc<Object>) -> Option<T> + Send + Sync + 'static) -> Builder<T> {
        Builder { spec, project: Box::new(move |object| project(object).map(Arc::new)), indices: Vec::new() }
    }

    pub fn get(&self, key: &ObjectRef) -> Option<Arc<T>> {
        self.store.read().objects.get(key).cloned()
    }

    /// All objects in the order of namespace and name.
    pub fn list(&self) -> Vec<Arc<T>> {
        self.store.read().objects.values().cloned().collect()
    }

    /// Whether some object is as asked; stops at the first one. `is` must not change the cache.
    pub fn any(&self, is: impl FnMut(&Arc<T>) -> bool) -> bool {
        self.store.read().objects.values().any(is)
    }

    pub fn keys(&self) -> Vec<ObjectRef> {
        self.store.read().objects.keys().map(|key| (**key).clone()).collect()
    }

    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.store.read().in_namespace(namespace)
    }

    /// The objects that a declared index finds under `value`; none when there is no such index.
    pub fn by(&self, index: &str, value: &str) -> Vec<Arc<T>> {
        self.store.read().by(index, value)
    }

    pub fn len(&self) -> usize {
        self.store.read().objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn resource(&self) -> &GroupVersionResource {
        &self.spec.resource
    }

    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until the first list is in.
    pub async fn synced(&self) {
        // The sender lives in self, so the channel cannot close while this waits.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Calls `listener` for every object the cache holds and for every later change, in order, from the cache's task.
    /// It must be quick and must not add listeners; it may read the cache.
    pub fn on_change(&self, listener: impl Fn(&Change<'_, T>) + Send + Sync + 'static) {
        let mut listeners = self.listeners.lock();
        let present: Vec<_> = self.store.read().objects.iter().map(|(key, object)| (key.clone(), object.clone())).collect();
        for (key, object) in &present {
            listener(&Change { key, old: None, new: Some(object) });
        }
        listeners.push(Box::new(listener));
    }

    /// Puts the key of every changed object into `queue`.
    pub fn enqueue(&self, queue: &Queue) {
        let queue = queue.clone();
        self.on_change(move |change| queue.add(change.key.clone()));
    }

    /// Puts the keys that `keys_of` derives from the old and the new version of every changed object into `queue`
    /// (a pod's owner, say).
    pub fn enqueue_mapped(&self, queue: &Queue, keys_of: impl Fn(&T) -> Vec<ObjectRef> + Send + Sync + 'static) {
        let queue = queue.clone();
        self.on_change(move |change| {
            for key in change.old.into_iter().chain(change.new).flat_map(|object| keys_of(object)) {
                queue.add(key);
            }
        });
    }

    /// The keys of all present objects and of every change from now on.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<ObjectRef> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.on_change(move |change| {
            // A receiver that went away has nothing more to learn.
            let _ = sender.send(change.key.clone());
        });
        receiver
    }

    async fn run(&self, client: &dyn Client) {
        let mut failures = 0;
        loop {
            match self.list_and_watch(client, &mut failures).await {
                Err(status) if status.is(Reason::Expired) || status.is(Reason::Gone) => {
                    tracing::debug!(resource = %self.spec.resource, "watch expired, listing again");
                }
                Err(status) => {
                    tracing::debug!(resource = %self.spec.resource, %status, failures, "list and watch failed");
                    tokio::time::sleep(RETRY.delay(failures)).await;
                    failures = failures.saturating_add(1);
                }
                Ok(never) => match never {},
            }
        }
    }

    async fn list_and_watch(&self, client: &dyn Client, failures: &mut u32) -> Result<std::convert::Infallible, Status> {
        let mut revision = self.relist(client).await?;
        self.synced.send_replace(true);
        let mut empty_ends = 0;
        loop {
            let options = WatchOptions {
                label_selector: self.spec.label_selector.clone(),
                field_selector: self.spec.field_selector.clone(),
                resource_version: revision.to_string(),
                allow_bookmarks: true,
                timeout_seconds: Some(WATCH_SECONDS),
                ..WatchOptions::default()
            };
            let mut stream = client.watch(&self.spec.resource, &self.spec.namespace, &options).await?;
            let mut events = 0_usize;
            while let Ok(Some(event)) = tokio::time::timeout(DEAD, stream.next()).await {
                *failures = 0;
                events += 1;
                revision = revision.max(self.apply(event?));
            }
            // A server that ends every watch at once must not be asked in a tight loop.
            empty_ends = if events == 0 { empty_ends + 1 } else { 0 };
            if empty_ends > 0 {
                tokio::time::sleep(RETRY.delay(empty_ends - 1)).await;
            }
        }
    }

    /// Lists everything, tells the differences and answers the revision to watch from.
    async fn relist(&self, client: &dyn Client) -> Result<u64, Status> {
        let mut options = ListOptions {
            label_selector: self.spec.label_selector.clone(),
            field_selector: self.spec.field_selector.clone(),
            ..ListOptions::default()
        };
        let mut gone: HashSet<ObjectRef> = self.keys().into_iter().collect();
        loop {
            let page = client.list(&self.spec.resource, &self.spec.namespace, &options).await?;
            for object in &page.items {
                gone.remove(&object.head().object_ref());
                self.put(object);
            }
            match page.continue_token.filter(|token| !token.is_empty()) {
                Some(token) => options.continue_token = token,
                None => {
                    for key in gone {
                        self.set(&key, None);
                    }
                    return Ok(page.revision);
                }
            }
        }
    }

    fn apply(&self, event: WatchEvent) -> u64 {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                self.put(&object);
                object.revision()
            }
            WatchEvent::Deleted(object) => {
                self.set(&object.head().object_ref(), None);
                object.revision()
            }
            WatchEvent::Bookmark { revision, .. } => revision,
        }
    }

    fn put(&self, object: &Arc<Object>) {
        self.set(&object.head().object_ref(), (self.project)(object));
    }

    fn set(&self, key: &ObjectRef, new: Option<Arc<T>>) {
        let listeners = self.listeners.lock();
        let old = self.store.write().put(key, new.clone());
        if old.is_none() && new.is_none() {
            return;
        }
        let change = Change { key, old: old.as_ref(), new: new.as_ref() };
        for listener in listeners.iter() {
            listener(&change);
        }
    }
}
