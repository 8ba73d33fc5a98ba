//! Claims of pods and the volumes that they can have, as scheduling sees them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use mizzen_api::storage::{Offered, Wanted};
use mizzen_api::{GroupVersionResource, Object, ObjectRef};
use mizzen_client::Client;
use mizzen_reconcile::typed::gvr;
use mizzen_reconcile::{WatchCache, WatchSpec};
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use crate::node::NodeInfo;
use crate::plugins::NodeTerms;

/// A provisioner that makes nothing: volumes of its classes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claim {
    /// It is bound to this volume; empty while it is not.
    pub volume: String,
    pub wanted: Wanted,
    pub is_lost: bool,
    pub terminating: bool,
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    pub offered: Offered,
    /// Nobody has it.
    pub is_free: bool,
    /// From which nodes it is reached; all where nothing is said.
    pub nodes: Option<NodeTerms>,
}

/// A StorageClass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Its claims are bound when a pod that uses them has its node.
    pub waits: bool,
    /// To what there is already.
    pub by_hand: bool,
}

#[derive(Default)]
pub struct Known {
    pub claims: HashMap<ObjectRef, Arc<Claim>>,
    pub volumes: HashMap<String, Arc<Volume>>,
    pub classes: HashMap<String, Arc<Class>>,
}

/// What is known of them at this moment: claims are bound while pods are decided on.
pub type Volumes = Arc<RwLock<Known>>;

/// Watches of all of them.
pub(crate) struct VolumeCaches {
    claims: Arc<WatchCache<Claim>>,
    volumes: Arc<WatchCache<Volume>>,
    classes: Arc<WatchCache<Class>>,
}

impl VolumeCaches {
    pub(crate) fn start(client: &Arc<dyn Client>, cancel: &CancellationToken) -> Self {
        fn start<T: Send + Sync + 'static>(
            of: fn(&Arc<Object>) -> Option<T>,
            resource: GroupVersionResource,
            client: &Arc<dyn Client>,
            cancel: &CancellationToken,
        ) -> Arc<WatchCache<T>> {
            WatchCache::projected(WatchSpec::all(resource), of).start(client.clone(), cancel.child_token())
        }
        Self {
            claims: start(Claim::of, gvr::<PersistentVolumeClaim>(), client, cancel),
            volumes: start(Volume::of, gvr::<PersistentVolume>(), client, cancel),
            classes: start(Class::of, gvr::<StorageClass>(), client, cancel),
        }
    }

    pub(crate) async fn synced(&self) {
        self.claims.synced().await;
        self.volumes.synced().await;
        self.classes.synced().await;
    }

    /// Keeps what is `known` as it is, and tells `changed` of each change.
    pub(crate) fn tell(&self, known: &Volumes, changed: impl Fn() + Clone + Send + Sync + 'static) {
        fn follow<T: Send + Sync + 'static>(
            cache: &WatchCache<T>,
            known: &Volumes,
            set: fn(&mut Known, &ObjectRef, Option<&Arc<T>>),
            changed: impl Fn() + Send + Sync + 'static,
        ) {
            let known = known.clone();
            cache.on_change(move |change| {
                set(&mut known.write(), change.key, change.new);
                changed();
            });
        }
        let (of_claims, of_volumes) = (changed.clone(), changed.clone());
        follow(&self.claims, known, |known, key, claim| replace(&mut known.claims, key.clone(), claim), of_claims);
        follow(&self.volumes, known, |known, key, volume| replace(&mut known.volumes, key.name.clone(), volume), of_volumes);
        follow(&self.classes, known, |known, key, class| replace(&mut known.classes, key.name.clone(), class), changed);
    }
}

fn replace<K: Eq + Hash, T>(all: &mut HashMap<K, Arc<T>>, key: K, new: Option<&Arc<T>>) {
    match new {
        Some(new) => drop(all.insert(key, new.clone())),
        None => drop(all.remove(&key)),
    }
}

/// The names of the claims that a pod names.
pub fn claims_of(pod: &Object) -> Vec<String> {
    // Of most pods nothing needs to be decoded.
    if memchr::memmem::find(pod.bytes(), b"\"persistentVolumeClaim\"").is_none() {
        return Vec::new();
    }
    let volumes = pod.decode::<Pod>().ok().and_then(|pod| pod.spec).and_then(|spec| spec.volumes);
    volumes.into_iter().flatten().filter_map(|volume| Some(volume.persistent_volume_claim?.claim_name)).collect()
}

impl Claim {
    /// `None` when the document is no claim, which the API never stores.
    pub fn of(object: &Arc<Object>) -> Option<Self> {
        let claim: PersistentVolumeClaim = object.decode().ok()?;
        let completed = claim.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(BIND_COMPLETED));
        Some(Self {
            wanted: Wanted::of(&claim),
            volume: claim.spec.and_then(|spec| spec.volume_name).filter(|_| completed).unwrap_or_default(),
            is_lost: claim.status.is_some_and(|status| status.phase.as_deref() == Some("Lost")),
            terminating: object.head().is_terminating(),
        })
    }
}

impl Volume {
    /// `None` when the document is no volume, which the API never stores.
    pub fn of(object: &Arc<Object>) -> Option<Self> {
        let volume: PersistentVolume = object.decode().ok()?;
        let offered = Offered::of(&volume, object.head().labels.clone());
        let spec = volume.spec.unwrap_or_default();
        let is_available = volume.status.is_some_and(|status| status.phase.as_deref() == Some("Available"));
        Some(Self {
            offered,
            is_free: is_available && spec.claim_ref.is_none(),
            nodes: spec.node_affinity.and_then(|affinity| affinity.required).map(|required| NodeTerms::of(&required)),
        })
    }

    pub fn is_reached_from(&self, node: &NodeInfo) -> bool {
        self.nodes.as_ref().is_none_or(|terms| terms.match_one(node))
    }

    /// Whether the claim, which has none, can have it.
    pub fn suits(&self, claim: &Claim) -> bool {
        self.is_free && self.offered.suits(&claim.wanted)
    }
}

impl Class {
    /// `None` when the document is no class, which the API never stores.
    pub fn of(object: &Arc<Object>) -> Option<Self> {
        let class: StorageClass = object.decode().ok()?;
        let waits = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
        Some(Self { waits, by_hand: class.provisioner == NO_PROVISIONER })
    }
}
