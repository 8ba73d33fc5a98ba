//! What is in use is not removed: a volume while it is bound, a claim while a pod on a node has it. Admission gives both their
//! finalizers; who made an object before that gets it here.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use mizzen_api::{Object, ObjectRef};
use mizzen_client::{Client, ListOptions};
use mizzen_reconcile::typed::Kind;
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, typed};
use serde_json::json;

use super::pods::wake_claims;
use super::view::Volume;
use crate::context::Context;
use crate::pod_view::PodView;

const VOLUME: &str = "kubernetes.io/pv-protection";
const CLAIM: &str = "kubernetes.io/pvc-protection";

pub(super) fn start(context: &Context, volumes: &WatchCache, claims: &WatchCache, pods: &WatchCache<PodView>) {
    let volume_queue = Queue::default();
    volumes.enqueue(&volume_queue);
    let client = context.client("pv-protection-controller");
    context.run(Controller::new("pv-protection", volume_queue, Arc::new(Volumes { client })));

    let client = context.client("pvc-protection-controller");
    let claim_queue = Queue::default();
    claims.enqueue(&claim_queue);
    wake_claims(pods, &claim_queue);
    context.run(Controller::new("pvc-protection", claim_queue, Arc::new(Claims { client })));
}

struct Volumes {
    client: Arc<dyn Client>,
}

#[async_trait]
impl Reconciler for Volumes {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let stored = typed::get_object::<PersistentVolume>(self.client.as_ref(), "", &key.name).await?;
        if let Some(stored) = stored {
            let in_use = Volume::of(&stored)?.phase == "Bound";
            hold::<PersistentVolume>(self.client.as_ref(), &stored, VOLUME, in_use).await?;
        }
        Ok(Action::Done)
    }
}

struct Claims {
    client: Arc<dyn Client>,
}

#[async_trait]
impl Reconciler for Claims {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let client = self.client.as_ref();
        let Some(stored) = typed::get_object::<PersistentVolumeClaim>(client, &key.namespace, &key.name).await? else {
            return Ok(Action::Done);
        };
        // Pods are asked for, not looked up: one that was bound a moment ago counts.
        let in_use = stored.head().is_terminating() && {
            let pods = client.list(&typed::gvr::<Pod>(), &key.namespace, &ListOptions::default()).await;
            let pods = pods.map_err(|status| Error::api(format!("list pods of {}", key.namespace), status))?;
            pods.items.iter().filter_map(PodView::of).any(|pod| pod.claims.contains(&key))
        };
        hold::<PersistentVolumeClaim>(client, &stored, CLAIM, in_use).await?;
        Ok(Action::Done)
    }
}

/// Gives the object its finalizer, or takes it away where the object goes and nobody uses it.
async fn hold<K: Kind>(client: &dyn Client, stored: &Object, finalizer: &str, in_use: bool) -> Result<(), Error> {
    let mut finalizers: Vec<&str> = stored.head().finalizers.iter().map(String::as_str).collect();
    let held = finalizers.contains(&finalizer);
    match (stored.head().is_terminating(), held) {
        (true, true) if !in_use => finalizers.retain(|other| *other != finalizer),
        (false, false) => finalizers.push(finalizer),
        _ => return Ok(()),
    }
    let finalizers = json!(finalizers);
    typed::update::<K>(client, stored, |document| document["metadata"]["finalizers"] = finalizers).await.map(drop)
}
