//! Persistent volumes: claims are bound to volumes that suit them, and neither goes while it is in use.
//!
//! A claim whose class names a provisioner is marked for it, as Kubernetes does; one of them is here ([`local_path`]).

mod bind;
mod decide;
#[cfg(test)]
mod decide_tests;
mod local_path;
mod pods;
mod protection;
mod view;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use mizzen_api::{Object, ObjectRef};
use mizzen_client::Client;
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, Recorder, WatchCache, WatchSpec, typed};

use crate::caches::BY_CLAIM;
use crate::context::Context;
use crate::pod_view::PodView;
use decide::Class;
use view::{Claim, Consumer, Volume};

const NAME: &str = "persistent-volume-binder";
/// Index of claims: the volume that they name.
const BY_VOLUME: &str = "volume";
/// What claims are found under that name no volume.
const NONE: &str = "";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let cache = |resource| WatchCache::objects(WatchSpec::all(resource));
    let (client_of, cancel) = (|| client.clone(), &context.cancel);
    let volumes = cache(typed::gvr::<PersistentVolume>()).start(client_of(), cancel.clone());
    let claims = cache(typed::gvr::<PersistentVolumeClaim>())
        .index(BY_VOLUME, |claim| Claim::of(claim).map(|claim| claim.volume).into_iter().collect())
        .start(client_of(), cancel.clone());
    let classes = cache(typed::gvr::<StorageClass>()).start(client_of(), cancel.clone());
    volumes.enqueue(&queue);
    claims.enqueue(&queue);
    wake_volumes(&claims, &queue);
    wake_claims(&volumes, &claims, &queue);
    wake_claims(&classes, &claims, &queue);
    let pods = context.caches.pods.clone();
    pods::wake_claims(&pods, &queue);
    protection::start(context, &volumes, &claims, &pods);
    local_path::start(context, &claims, &classes);
    let recorder = Recorder::start(client.clone(), context.clock.clone(), "persistentvolume-controller", "");
    let nodes = context.caches.nodes.clone();
    // One at a time: two claims would choose the same volume.
    context.run(Controller::new(NAME, queue, Arc::new(Binder { client, volumes, classes, pods, nodes, recorder })));
}

/// A claim that comes, goes or is bound says something of the volumes that it named.
fn wake_volumes(claims: &WatchCache, queue: &Queue) {
    let queue = queue.clone();
    claims.on_change(move |change| {
        for claim in change.old.into_iter().chain(change.new).filter_map(|object| Claim::of(object).ok()) {
            if !claim.volume.is_empty() {
                queue.add(ObjectRef::cluster(claim.volume));
            }
        }
    });
}

/// A volume, or a class, is news for the claims that have none, and for the one that has it.
fn wake_claims(changes: &WatchCache, claims: &Arc<WatchCache>, queue: &Queue) {
    let (claims, queue) = (Arc::downgrade(claims), queue.clone());
    changes.on_change(move |change| {
        if let Some(claims) = claims.upgrade() {
            for claim in claims.by(BY_VOLUME, NONE).iter().chain(&claims.by(BY_VOLUME, &change.key.name)) {
                queue.add(claim.head().object_ref());
            }
        }
    });
}

struct Binder {
    client: Arc<dyn Client>,
    volumes: Arc<WatchCache>,
    classes: Arc<WatchCache>,
    pods: Arc<WatchCache<PodView>>,
    nodes: Arc<WatchCache>,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for Binder {
    /// Volumes are of the cluster, claims of a namespace.
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        match key.namespace.is_empty() {
            true => self.volume(&key.name).await?,
            false => self.claim(&key).await?,
        }
        Ok(Action::Done)
    }
}

impl Binder {
    fn class(&self, claim: &Claim) -> Result<Class, Error> {
        if claim.wanted.class().is_empty() {
            return Ok(Class::Unknown);
        }
        let Some(object) = self.classes.get(&ObjectRef::cluster(claim.wanted.class())) else { return Ok(Class::Unknown) };
        let class = typed::view::<StorageClass>(&object)?;
        let waits = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
        Ok(Class::Known { provisioner: class.provisioner.clone(), waits })
    }

    /// Where the claim is used; of several pods the first is as good as any, since all want its volume.
    fn consumer(&self, claim: &ObjectRef) -> Option<Consumer> {
        let node = self.pods.by(BY_CLAIM, &claim.to_string()).first()?.node.clone();
        let labels = self.nodes.get(&ObjectRef::cluster(node.as_str()))?.head().labels.clone();
        Some(Consumer { node, labels })
    }

    fn all_volumes(&self) -> Result<Vec<Volume>, Error> {
        self.volumes.list().iter().map(Volume::of).collect()
    }

    async fn stored_claim(&self, key: &ObjectRef) -> Result<Option<Arc<Object>>, Error> {
        typed::get_object::<PersistentVolumeClaim>(self.client.as_ref(), &key.namespace, &key.name).await
    }
}
