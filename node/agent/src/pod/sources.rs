//! The ConfigMaps and Secrets that pods of this node mount, or wait for: one watch for each, whatever number of pods use it,
//! so that files follow, and containers start, within moments of a change.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::future::select_all;
use k8s_openapi::api::core::v1::Pod;
use mizzen_api::GroupVersionResource;
use mizzen_client::Client;
use mizzen_reconcile::{WatchCache, WatchSpec};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::containers::containers;

/// Resource, namespace, name.
type Key = (&'static str, String, String);

struct Watched {
    changes: watch::Sender<()>,
    _watching: DropGuard,
}

pub(crate) struct Sources {
    client: Arc<dyn Client>,
    watched: Mutex<HashMap<Key, Watched>>,
}

/// What one pod uses.
pub(crate) struct Subscription {
    sources: Arc<Sources>,
    used: Vec<(Key, watch::Receiver<()>)>,
}

impl Sources {
    pub(crate) fn new(client: Arc<dyn Client>) -> Arc<Self> {
        Arc::new(Self { client, watched: Mutex::default() })
    }

    /// What the pod's volumes are made from.
    pub(crate) fn volumes(self: &Arc<Self>, pod: &Pod) -> Subscription {
        self.subscribe(mounted(pod))
    }

    /// What the environments of the pod's containers are made from: read once, at the start, so that it is of interest only
    /// while it is missing.
    pub(crate) fn environment(self: &Arc<Self>, pod: &Pod) -> Subscription {
        self.subscribe(read(pod))
    }

    fn subscribe(self: &Arc<Self>, keys: BTreeSet<Key>) -> Subscription {
        let mut watched = self.watched.lock();
        let mut used = Vec::new();
        for key in keys {
            let receiver = watched.entry(key.clone()).or_insert_with(|| self.watch(&key)).changes.subscribe();
            used.push((key, receiver));
        }
        Subscription { sources: self.clone(), used }
    }

    fn watch(&self, (resource, namespace, name): &Key) -> Watched {
        let spec = WatchSpec::all(GroupVersionResource::new("", "v1", *resource));
        let spec = spec.namespace(namespace).fields(&format!("metadata.name={name}"));
        let (changes, cancel) = (watch::Sender::new(()), CancellationToken::new());
        // Nothing of the object is kept: whoever is told of a change asks for what is there then.
        let cache = WatchCache::projected(spec, |_| Some(())).start(self.client.clone(), cancel.clone());
        let sender = changes.clone();
        cache.on_change(move |_| sender.send_replace(()));
        Watched { changes, _watching: cancel.drop_guard() }
    }
}

impl Subscription {
    /// Returns when one of them has changed, or may have.
    pub(crate) async fn changed(&mut self) {
        if self.used.is_empty() {
            return std::future::pending().await;
        }
        // No sender ends before its last receiver.
        let _ = select_all(self.used.iter_mut().map(|(_, changes)| Box::pin(changes.changed()))).await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut watched = self.sources.watched.lock();
        for (key, receiver) in self.used.drain(..) {
            drop(receiver);
            if watched.get(&key).is_some_and(|watched| watched.changes.receiver_count() == 0) {
                watched.remove(&key);
            }
        }
    }
}

fn mounted(pod: &Pod) -> BTreeSet<Key> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let mut keys = BTreeSet::new();
    let mut add = |resource, name: Option<&String>| {
        keys.extend(name.map(|name| (resource, namespace.clone(), name.clone())));
    };
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        add("configmaps", volume.config_map.as_ref().map(|source| &source.name));
        add("secrets", volume.secret.as_ref().and_then(|source| source.secret_name.as_ref()));
        for projection in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            add("configmaps", projection.config_map.as_ref().map(|source| &source.name));
            add("secrets", projection.secret.as_ref().map(|source| &source.name));
        }
    }
    keys
}

fn read(pod: &Pod) -> BTreeSet<Key> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let mut keys = BTreeSet::new();
    for container in containers(pod) {
        let container = container.as_ref();
        let mut add = |resource, name: Option<&String>| {
            keys.extend(name.map(|name| (resource, namespace.clone(), name.clone())));
        };
        for source in container.env_from.iter().flatten() {
            add("configmaps", source.config_map_ref.as_ref().map(|source| &source.name));
            add("secrets", source.secret_ref.as_ref().map(|source| &source.name));
        }
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            add("configmaps", source.config_map_key_ref.as_ref().map(|source| &source.name));
            add("secrets", source.secret_key_ref.as_ref().map(|source| &source.name));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_pod_mounts_is_found_in_every_kind_of_volume_once() {
        let pod = serde_json::from_value(json!({"metadata": {"namespace": "n"}, "spec": {"containers": [], "volumes": [
            {"name": "a", "configMap": {"name": "settings"}},
            {"name": "b", "secret": {"secretName": "key"}},
            {"name": "c", "emptyDir": {}},
            {"name": "d", "projected": {"sources": [
                {"configMap": {"name": "kube-root-ca.crt"}}, {"configMap": {"name": "settings"}}, {"secret": {"name": "other"}},
                {"serviceAccountToken": {"path": "token"}},
            ]}},
        ]}}))
        .expect("is a pod");
        assert_eq!(
            names(mounted(&pod)),
            ["configmaps n/kube-root-ca.crt", "configmaps n/settings", "secrets n/key", "secrets n/other"]
        );
    }

    #[test]
    fn what_environments_are_made_from_is_found_in_every_container() {
        let pod = serde_json::from_value(json!({"metadata": {"namespace": "n"}, "spec": {
            "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "all"}}]}],
            "containers": [{"name": "a", "env": [
                {"name": "A", "value": "b"},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "b"}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": "key", "key": "c"}}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ]}],
        }}))
        .expect("is a pod");
        assert_eq!(names(read(&pod)), ["configmaps n/settings", "secrets n/all", "secrets n/key"]);
    }

    fn names(keys: BTreeSet<Key>) -> Vec<String> {
        keys.into_iter().map(|(resource, namespace, name)| format!("{resource} {namespace}/{name}")).collect()
    }
}
