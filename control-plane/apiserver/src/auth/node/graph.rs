//! Which pods run on which node, and what they refer to: an index over the pods in the store that follows its changes.
//! From claims on, few links are left, which are read from the store itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use memchr::memmem::Finder;
use mizzen_api::pick::Pick;
use mizzen_api::{Object, Registry};
use mizzen_store::{RangeOptions, Store, StoreError};
use parking_lot::RwLock;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::references::{self, PERSISTENT_SECRETS, Referred, text};

/// Between two tries to follow a store that fails.
const RETRY: Duration = Duration::from_millis(250);

type References = Vec<(Referred, Box<str>)>;

#[derive(Default)]
struct Index {
    /// By node, then by namespace and name of the pod, as in its key.
    nodes: HashMap<Box<str>, HashMap<Box<str>, References>>,
    /// The node of every pod that is bound.
    pods: HashMap<Box<str>, Box<str>>,
}

impl Index {
    /// Takes in the present state of one pod; `pod` is its namespace and name, as in its key.
    fn set(&mut self, pod: &str, bound: Option<(Box<str>, References)>) {
        if let Some(node) = self.pods.remove(pod)
            && let Some(pods) = self.nodes.get_mut(&node)
        {
            pods.remove(pod);
            if pods.is_empty() {
                self.nodes.remove(&node);
            }
        }
        if let Some((node, references)) = bound {
            self.pods.insert(pod.into(), node.clone());
            self.nodes.entry(node).or_default().insert(pod.into(), references);
        }
    }

    fn of(&self, node: &str, namespace: &str) -> impl Iterator<Item = &(Referred, Box<str>)> {
        let inside = move |pod: &str| pod.strip_prefix(namespace).is_some_and(|rest| rest.starts_with('/'));
        self.nodes.get(node).into_iter().flatten().filter(move |(pod, _)| inside(pod)).flat_map(|(_, references)| references)
    }
}

/// The node a pod is bound to, and what it refers to. Every change of every pod comes here: most new pods are not bound, and
/// need not be decoded, and of the others only what is looked at.
fn read(pod: &Object) -> Option<(Box<str>, References)> {
    static LOOKED_AT: LazyLock<Pick> = LazyLock::new(|| {
        let places = references::looked_at();
        Pick::of(places.iter().map(String::as_str).chain(["/spec/nodeName"]))
    });
    memchr::memmem::find(pod.bytes(), b"\"nodeName\"")?;
    let pod = pod.pick(&LOOKED_AT).ok()?;
    let node = text(&pod, "/spec/nodeName");
    (!node.is_empty()).then(|| (node.into(), references::of(&pod)))
}

pub(super) struct Graph {
    index: RwLock<Index>,
    prefix: String,
    store: Arc<dyn Store>,
}

impl Graph {
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn start(store: Arc<dyn Store>, cancel: CancellationToken) -> Result<Arc<Self>, StoreError> {
        let prefix = Registry::builtin().by_group_resource("", "pods").map(|pods| pods.prefix()).unwrap_or_default();
        let graph = Arc::new(Self { index: RwLock::default(), prefix, store });
        let from = graph.rebuild()?;
        let follower = graph.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = follower.follow(from) => {}
            }
        });
        Ok(graph)
    }

    fn rebuild(&self) -> Result<u64, StoreError> {
        let range = self.store.range(&self.prefix, &RangeOptions::default())?;
        let mut index = Index::default();
        for (key, object) in &range.items {
            index.set(self.pod(key), read(object));
        }
        *self.index.write() = index;
        Ok(range.revision)
    }

    fn pod<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.prefix).unwrap_or(key)
    }

    async fn follow(&self, mut from: u64) {
        loop {
            let Err(error) = self.follow_until_error(&mut from).await;
            if !matches!(error, StoreError::Compacted { .. }) {
                tracing::warn!(%error, "the node authorizer does not follow pods, trying again");
                tokio::time::sleep(RETRY).await;
            }
            match self.rebuild() {
                Ok(revision) => from = revision,
                Err(error) => {
                    tracing::warn!(%error, "the node authorizer cannot read pods, trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn follow_until_error(&self, from: &mut u64) -> Result<Infallible, StoreError> {
        let mut watch = self.store.watch(&self.prefix, *from)?;
        loop {
            let changes = watch.next().await?;
            // Decoded before the lock: requests of nodes look at the index meanwhile.
            let bound: Vec<_> = changes.iter().map(|change| change.object.as_deref().and_then(read)).collect();
            let mut index = self.index.write();
            for (change, bound) in changes.iter().zip(bound) {
                index.set(self.pod(&change.key), bound);
                *from = (*from).max(change.revision);
            }
        }
    }

    /// Whether the pod is bound to the node.
    pub(super) fn runs(&self, node: &str, namespace: &str, name: &str) -> bool {
        let pod = self.store.get(&format!("{}{namespace}/{name}", self.prefix));
        pod.and_then(|pod| read(&pod)).is_some_and(|(bound, _)| *bound == *node)
    }

    /// Whether a pod on the node refers to the object, be it through a volume that it claims.
    pub(super) fn refers(&self, node: &str, kind: Referred, namespace: &str, name: &str) -> bool {
        let known = self.index.read().of(node, namespace).any(|(referred, own)| *referred == kind && **own == *name);
        known
            || (kind == Referred::Secret && self.reaches_secret(node, namespace, name))
            || self.came_just_now(node, kind, namespace, name)
    }

    /// Before a node is refused: it may have seen its pod in the store earlier than the index here.
    fn came_just_now(&self, node: &str, kind: Referred, namespace: &str, name: &str) -> bool {
        let Ok(range) = self.store.range(&format!("{}{namespace}/", self.prefix), &RangeOptions::default()) else { return false };
        let (node_name, name_of) = (Finder::new(node), Finder::new(name));
        // The name of a claim that is a pod's own is not written in the pod.
        let written = |object: &Object| kind == Referred::Claim || name_of.find(object.bytes()).is_some();
        let pods = range.items.iter().filter(|(_, pod)| written(pod) && node_name.find(pod.bytes()).is_some());
        pods.filter_map(|(_, pod)| read(pod)).any(|(bound, references)| {
            *bound == *node && references.iter().any(|(referred, own)| *referred == kind && **own == *name)
        })
    }

    fn object(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let descriptor = Registry::builtin().by_group_resource(group, resource)?;
        self.store.get(&descriptor.key(namespace, name))?.value().ok()
    }

    /// Whether a pod on the node claims the volume.
    pub(super) fn reaches_volume(&self, node: &str, name: &str) -> bool {
        let Some(volume) = self.object("", "persistentvolumes", "", name) else { return false };
        let (namespace, claim) = (text(&volume, "/spec/claimRef/namespace"), text(&volume, "/spec/claimRef/name"));
        let bound = || {
            let claim = self.object("", "persistentvolumeclaims", namespace, claim);
            claim.is_some_and(|claim| text(&claim, "/spec/volumeName") == name)
        };
        !claim.is_empty() && bound() && self.refers(node, Referred::Claim, namespace, claim)
    }

    /// Whether a volume that a pod on the node claims names the secret.
    fn reaches_secret(&self, node: &str, namespace: &str, name: &str) -> bool {
        let claims: Vec<(String, String)> = {
            let index = self.index.read();
            let pods = index.nodes.get(node).into_iter().flatten();
            pods.flat_map(|(pod, references)| {
                let claims = references.iter().filter(|(kind, _)| *kind == Referred::Claim);
                claims.map(|(_, claim)| (pod.split('/').next().unwrap_or_default().to_owned(), claim.to_string()))
            })
            .collect()
        };
        claims.iter().any(|(claimed_in, claim)| {
            let claim = self.object("", "persistentvolumeclaims", claimed_in, claim);
            let volume = claim.and_then(|claim| self.object("", "persistentvolumes", "", text(&claim, "/spec/volumeName")));
            volume.is_some_and(|volume| {
                PERSISTENT_SECRETS.iter().any(|(at, its_namespace)| {
                    let stated = text(&volume, its_namespace);
                    let within = if stated.is_empty() { claimed_in } else { stated };
                    text(&volume, at) == name && within == namespace
                })
            })
        })
    }

    /// Whether there is any, which nodes are to enforce.
    pub(super) fn has_network_policies(&self) -> bool {
        let policies = Registry::builtin().by_group_resource("networking.k8s.io", "networkpolicies");
        let one = RangeOptions { limit: 1, ..RangeOptions::default() };
        let first = policies.and_then(|policies| self.store.range(&policies.prefix(), &one).ok());
        first.is_some_and(|range| !range.items.is_empty())
    }

    /// Whether a cluster-scoped object names the node in a field.
    pub(super) fn names_node(&self, group: &str, resource: &str, name: &str, field: &str, node: &str) -> bool {
        self.object(group, resource, "", name).is_some_and(|object| text(&object, field) == node)
    }
}
