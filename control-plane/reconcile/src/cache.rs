//! A mirror of one resource.

use std::sync::Arc;

use mizzen_api::{GroupVersionResource, Head, Object, ObjectRef};
use mizzen_client::Client;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::feed::{Fed, Feed};
use crate::store::{Index, Store};
use crate::{Queue, WatchSpec};

/// One change as the cache saw it: `old` is what it held before, `new` what it holds now. Meant for finding out which
/// keys a change concerns (also the former owner's); by the time anyone acts, the cache may be further on.
pub struct Change<'a, T> {
    pub key: &'a ObjectRef,
    pub old: Option<&'a Arc<T>>,
    pub new: Option<&'a Arc<T>>,
}

type Listener<T> = Box<dyn Fn(&Change<'_, T>) + Send + Sync>;
type Project<T> = Box<dyn Fn(&Arc<Object>) -> Option<Arc<T>> + Send + Sync>;

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
        let mut feed = Feed::new(self.spec.clone());
        let cache = self.fed_by(&mut feed);
        feed.start(client, cancel);
        cache
    }

    /// Has its objects from a watch that it shares with others.
    ///
    /// # Panics
    /// In debug builds, when the watch is for something else.
    pub fn fed_by(self, feed: &mut Feed) -> Arc<WatchCache<T>> {
        debug_assert_eq!(&self.spec, feed.spec(), "another watch");
        let cache = Arc::new(WatchCache {
            spec: self.spec,
            project: self.project,
            store: RwLock::new(Store::new(self.indices)),
            listeners: Mutex::new(Vec::new()),
            synced: watch::Sender::new(false),
        });
        feed.add(cache.clone());
        cache
    }
}

impl<T: Send + Sync + 'static> Fed for WatchCache<T> {
    fn put(&self, object: &Arc<Object>) {
        let key = object.head().key();
        match (self.project)(object) {
            Some(new) => self.change(key, Some(&new), |store| store.put(key, &new)),
            None => self.remove(key),
        }
    }

    fn remove(&self, key: &ObjectRef) {
        self.change(key, None, |store| store.remove(key));
    }

    fn known(&self) -> Vec<ObjectRef> {
        self.keys()
    }

    fn is_complete(&self) {
        self.synced.send_replace(true);
    }
}

impl WatchCache<Object> {
    /// A cache of whole documents.
    pub fn objects(spec: WatchSpec) -> Builder<Object> {
        Builder { spec, project: Box::new(|object| Some(object.clone())), indices: Vec::new() }
    }
}

impl WatchCache<Head> {
    /// A cache of metadata, which documents that are in memory share with it.
    pub fn heads(spec: WatchSpec) -> Builder<Head> {
        Builder { spec, project: Box::new(|object| Some(object.shared_head().clone())), indices: Vec::new() }
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

    fn change(&self, key: &ObjectRef, new: Option<&Arc<T>>, apply: impl FnOnce(&mut Store<T>) -> Option<Arc<T>>) {
        let listeners = self.listeners.lock();
        let old = apply(&mut self.store.write());
        if old.is_none() && new.is_none() {
            return;
        }
        let change = Change { key, old: old.as_ref(), new };
        for listener in listeners.iter() {
            listener(&change);
        }
    }
}
