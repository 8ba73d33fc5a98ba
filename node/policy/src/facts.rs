//! What the node knows: mirrors of all NetworkPolicies and, while there are any, of Pods and Namespaces.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use mizzen_api::{Object, ObjectRef};
use mizzen_client::Client;
use mizzen_reconcile::typed::gvr;
use mizzen_reconcile::{WatchCache, WatchSpec};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::group::Labels;
use crate::pod::PodView;
use crate::view::PolicyView;

/// A pod's own addresses on this node, by its uid, and whether it is in the namespace that Wasm pods share.
pub type Ledger = Arc<dyn Fn(&str) -> Option<(Vec<IpAddr>, bool)> + Send + Sync>;

/// Nodes may ask for pods of all nodes by this: those that policies are about.
const PODS: &str = "spec.hostNetwork=false";

pub(crate) fn policies(client: &Arc<dyn Client>, cancel: &CancellationToken) -> Arc<WatchCache<PolicyView>> {
    let policies = WatchCache::projected(WatchSpec::all(gvr::<NetworkPolicy>()), |object: &Arc<Object>| {
        PolicyView::of(&object.value().ok()?).inspect_err(|error| tracing::warn!(%error, "a policy that cannot be read")).ok()
    });
    policies.start(client.clone(), cancel.clone())
}

/// What the rules depend on.
pub(crate) struct Facts {
    pub(crate) node: String,
    pub(crate) policies: Arc<WatchCache<PolicyView>>,
    pub(crate) pods: Arc<WatchCache<PodView>>,
    pub(crate) namespaces: Arc<WatchCache<Labels>>,
    /// Pods of this node that are being made, which `pods` may not know yet.
    pub(crate) made: Arc<Mutex<BTreeMap<ObjectRef, Arc<PodView>>>>,
    pub(crate) ledger: Ledger,
}

impl Facts {
    pub(crate) async fn synced(&self) {
        self.policies.synced().await;
        self.pods.synced().await;
        self.namespaces.synced().await;
    }

    /// What is known of a pod. A pod that is being made is newer than one of its name of which there is no news.
    pub(crate) fn pod(&self, key: &ObjectRef) -> Option<Arc<PodView>> {
        let mirrored = self.pods.get(key);
        let made = self.made.lock().get(key).cloned();
        match (mirrored, made) {
            (Some(mirrored), Some(made)) if mirrored.uid == made.uid => Some(mirrored),
            (mirrored, made) => made.or(mirrored),
        }
    }
}

pub(crate) fn pods(client: &Arc<dyn Client>, cancel: &CancellationToken) -> Arc<WatchCache<PodView>> {
    let spec = WatchSpec::all(gvr::<Pod>()).fields(PODS);
    // Not `view`, which would keep the whole pod decoded for as long as the API server has the object.
    let pods = WatchCache::projected(spec, |object: &Arc<Object>| PodView::of(&object.decode::<Pod>().ok()?));
    pods.start(client.clone(), cancel.clone())
}

pub(crate) fn namespaces(client: &Arc<dyn Client>, cancel: &CancellationToken) -> Arc<WatchCache<Labels>> {
    let namespaces =
        WatchCache::projected(WatchSpec::all(gvr::<Namespace>()), |object: &Arc<Object>| Some((*object.head().labels).clone()));
    namespaces.start(client.clone(), cancel.clone())
}
