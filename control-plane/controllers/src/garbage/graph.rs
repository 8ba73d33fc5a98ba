//! Who owns whom, over all resources: one cache of metadata per resource, indexed by uid and by owner.

use std::collections::HashSet;
use std::sync::Arc;

use mizzen_api::{GroupVersionResource, Head, OwnerReference, Verb};
use mizzen_client::{Client, Discovery, ServedResource};
use mizzen_reconcile::{Queue, WatchCache, WatchSpec};
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

pub(super) const ORPHAN: &str = "orphan";
pub(super) const FOREGROUND: &str = "foregroundDeletion";
const BY_UID: &str = "uid";
const BY_OWNER: &str = "owner";

/// Whether its foreground deletion waits for those that it owns.
pub(super) fn waits_for_dependents(item: &Head) -> bool {
    item.is_terminating() && item.has_finalizer(FOREGROUND)
}

/// Whether the owner's foreground deletion waits for this object.
pub(super) fn blocks(item: &Head, owner: &str) -> bool {
    item.owner_references.iter().any(|reference| reference.uid == owner && reference.block_owner_deletion == Some(true))
}

/// One resource.
pub(super) struct Monitor {
    pub(super) resource: GroupVersionResource,
    pub(super) cache: Arc<WatchCache<Head>>,
    pub(super) queue: Queue,
    /// Ends the cache and the workers: the resource is not served any more.
    pub(super) cancel: CancellationToken,
}

/// The resources come and go with custom kinds and other servers.
pub(super) struct Graph {
    monitors: RwLock<Arc<Vec<Arc<Monitor>>>>,
    served: RwLock<Arc<Discovery>>,
    client: Arc<dyn Client>,
    cancel: CancellationToken,
}

/// Events are many, own nothing, and expire by themselves.
fn is_monitored(served: &ServedResource) -> bool {
    served.takes(&[Verb::List, Verb::Watch, Verb::Delete]) && &*served.resource.resource != "events"
}

impl Graph {
    pub(super) fn new(client: &Arc<dyn Client>, cancel: &CancellationToken) -> Self {
        Self { monitors: RwLock::default(), served: RwLock::default(), client: client.clone(), cancel: cancel.clone() }
    }

    /// What is served, as it was last followed.
    pub(super) fn served(&self) -> Arc<Discovery> {
        self.served.read().clone()
    }

    fn monitors(&self) -> Arc<Vec<Arc<Monitor>>> {
        self.monitors.read().clone()
    }

    /// Brings the monitors in line with what is served. Answers the new ones.
    pub(super) fn follow(&self, discovery: Arc<Discovery>) -> Vec<Arc<Monitor>> {
        let served: Vec<_> =
            discovery.preferred().filter(|served| is_monitored(served)).map(|served| served.resource.clone()).collect();
        // What a server has that does not answer is not known to be gone.
        let is_failed = |resource: &GroupVersionResource| {
            discovery.failed.iter().any(|failed| failed.group == resource.group && failed.version == resource.version)
        };
        let stays = |monitor: &Arc<Monitor>| served.contains(&monitor.resource) || is_failed(&monitor.resource);
        let (kept, gone): (Vec<_>, Vec<_>) = self.monitors().iter().cloned().partition(stays);
        gone.iter().for_each(|monitor| monitor.cancel.cancel());
        let is_new = |resource: &GroupVersionResource| !kept.iter().any(|monitor| monitor.resource == *resource);
        let added: Vec<_> = served.into_iter().filter(is_new).map(|resource| self.monitor(resource)).collect();
        if !added.is_empty() || !gone.is_empty() {
            *self.monitors.write() = Arc::new(kept.iter().chain(&added).cloned().collect());
        }
        *self.served.write() = discovery;
        added
    }

    fn monitor(&self, resource: GroupVersionResource) -> Arc<Monitor> {
        let cancel = self.cancel.child_token();
        let cache = WatchCache::heads(WatchSpec::all(resource.clone()))
            .index(BY_UID, |item: &Head| vec![item.uid.clone()])
            .index(BY_OWNER, |item: &Head| item.owner_references.iter().map(|owner| owner.uid.clone()).collect())
            .start(self.client.clone(), cancel.clone());
        Arc::new(Monitor { resource, cache, queue: Queue::default(), cancel })
    }

    /// Wakes every object that a change of the monitor's resource concerns: itself, its dependents when it goes, its owners
    /// that wait for it.
    pub(super) fn observe(self: &Arc<Self>, monitor: &Monitor) {
        let (graph, queue) = (Arc::downgrade(self), monitor.queue.clone());
        monitor.cache.on_change(move |change| {
            let Some(graph) = graph.upgrade() else { return };
            if let Some(new) = change.new
                && (!new.owner_references.is_empty()
                    || (new.is_terminating() && (new.has_finalizer(FOREGROUND) || new.has_finalizer(ORPHAN))))
            {
                queue.add(new.object_ref());
            }
            if let Some(new) = change.new
                && waits_for_dependents(new)
                && !change.old.is_some_and(|old| waits_for_dependents(old))
            {
                // It may have closed a circle, in which each would wait for the next.
                new.owner_references.iter().for_each(|owner| graph.wake(&owner.uid));
            }
            if let Some(old) = change.old {
                let gone = change.new.is_none_or(|new| new.uid != old.uid);
                if gone {
                    graph.dependents(&old.uid).into_iter().for_each(|(at, dependent)| at.queue.add(dependent.object_ref()));
                }
                let released = |owner: &&OwnerReference| gone || change.new.is_some_and(|new| !blocks(new, &owner.uid));
                old.owner_references.iter().filter(released).for_each(|owner| graph.wake(&owner.uid));
            }
        });
    }

    /// Whether `waiting`, through dependents that wait themselves, waits in the end for the object with uid `target`.
    pub(super) fn waits_for(&self, waiting: &Head, target: &str) -> bool {
        let (mut seen, mut open) = (HashSet::new(), vec![waiting.uid.clone()]);
        while let Some(uid) = open.pop() {
            for (_, dependent) in self.dependents(&uid) {
                if waits_for_dependents(&dependent) && blocks(&dependent, &uid) && seen.insert(dependent.uid.clone()) {
                    if dependent.uid == target {
                        return true;
                    }
                    open.push(dependent.uid.clone());
                }
            }
        }
        false
    }

    fn wake(&self, uid: &str) {
        for monitor in self.monitors().iter() {
            monitor
                .cache
                .by(BY_UID, uid)
                .iter()
                .filter(|item| item.is_terminating())
                .for_each(|item| monitor.queue.add(item.object_ref()));
        }
    }

    pub(super) fn find(&self, uid: &str) -> Option<Arc<Head>> {
        self.monitors().iter().find_map(|monitor| monitor.cache.by(BY_UID, uid).into_iter().next())
    }

    /// Wakes every object with an owner that is not known. Called when kinds were added: what could not be told of such an
    /// owner can be now, and one that went before its kind was followed has told nobody.
    pub(super) fn reconsider(&self) {
        let monitors = self.monitors();
        let items: Vec<_> = monitors.iter().map(|monitor| monitor.cache.list()).collect();
        let known: HashSet<&str> = items.iter().flatten().map(|item| item.uid.as_str()).collect();
        for (monitor, items) in monitors.iter().zip(&items) {
            let is_lost = |item: &&Arc<Head>| item.owner_references.iter().any(|owner| !known.contains(owner.uid.as_str()));
            items.iter().filter(is_lost).for_each(|item| monitor.queue.add(item.object_ref()));
        }
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<(Arc<Monitor>, Arc<Head>)> {
        let of = |monitor: &Arc<Monitor>| {
            let monitor = monitor.clone();
            monitor.cache.by(BY_OWNER, uid).into_iter().map(move |item| (monitor.clone(), item))
        };
        self.monitors().iter().flat_map(of).collect()
    }

    pub(super) fn has_dependents(&self, uid: &str) -> bool {
        self.monitors().iter().any(|monitor| !monitor.cache.by(BY_OWNER, uid).is_empty())
    }
}
