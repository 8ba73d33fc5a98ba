//! The pods of a controller: takes those that match and have no other, lets go of those that match no longer.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use mizzen_api::Reason;
use mizzen_client::{Client, PatchKind};
use mizzen_reconcile::typed::Kind;
use mizzen_reconcile::{Error, WatchCache, typed};
use serde_json::{Value, json};

use crate::claim::{self, Claim};
use crate::pod_owner::PodOwner;
use crate::pod_view::PodView;

/// Who takes pods.
pub(crate) struct Claimant<'a> {
    pub(crate) owner: &'a PodOwner,
    /// A finalizer that its pods have, if any.
    pub(crate) finalizer: Option<&'static str>,
}

impl Claimant<'_> {
    /// Its pods, after adopting and releasing; of pods without a controller only those that `fit`.
    pub(crate) async fn pods<K: Kind>(
        &self,
        client: &dyn Client,
        pods: &WatchCache<PodView>,
        fit: impl Fn(&PodView) -> bool,
    ) -> Result<Vec<Arc<PodView>>, Error> {
        let mut mine = Vec::new();
        let mut may_adopt = None;
        let PodOwner { key, uid, terminating, selector, .. } = self.owner;
        for pod in pods.in_namespace(&key.namespace) {
            match claim::claim(uid, *terminating, selector, &pod.labels, pod.owner.as_deref(), pod.terminating) {
                Claim::NotMine => {}
                Claim::Mine => mine.push(pod),
                Claim::Release => patch_owner(client, &pod, self.release(&pod)).await?,
                Claim::Adopt if !fit(&pod) => {}
                Claim::Adopt => {
                    // The cache may not know yet that the owner is gone: an adopted pod would be collected with it.
                    let allowed = match may_adopt {
                        Some(allowed) => allowed,
                        None => *may_adopt.insert(self.is_live::<K>(client).await?),
                    };
                    if allowed {
                        patch_owner(client, &pod, self.adoption::<K>(&pod)).await?;
                        mine.push(pod);
                    }
                }
            }
        }
        Ok(mine)
    }

    async fn is_live<K: Kind>(&self, client: &dyn Client) -> Result<bool, Error> {
        let live = typed::get_object::<K>(client, &self.owner.key.namespace, &self.owner.key.name).await?;
        Ok(live.is_some_and(|live| live.head().uid == self.owner.uid && !live.head().is_terminating()))
    }

    fn adoption<K: Kind>(&self, pod: &PodView) -> Value {
        let mut patch = claim::adoption(&self.owner.controls::<K>(), &pod.uid);
        if let Some(finalizer) = self.finalizer {
            patch["metadata"]["finalizers"] = json!([finalizer]);
        }
        patch
    }

    fn release(&self, pod: &PodView) -> Value {
        let mut patch = claim::release(&self.owner.uid, &pod.uid);
        if let Some(finalizer) = self.finalizer {
            patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
        }
        patch
    }
}

async fn patch_owner(client: &dyn Client, pod: &PodView, patch: Value) -> Result<(), Error> {
    let (namespace, name) = (&pod.key.namespace, &pod.key.name);
    match typed::patch::<Pod>(client, namespace, name, "", PatchKind::Strategic, patch).await {
        Ok(_) => Ok(()),
        Err(error) if error.is(Reason::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}
