//! The caches that controllers share. Each is filled as a controller that may read the resource anyway; every write
//! goes under the writing controller's own identity.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use mizzen_client::Client;
use mizzen_reconcile::typed::gvr;
use mizzen_reconcile::{WatchCache, WatchSpec};
use tokio_util::sync::CancellationToken;

use crate::pod_view::PodView;
use crate::replicaset::RsView;

/// Index of pods: the uid of the controller.
pub(crate) const BY_OWNER: &str = "owner";
/// Index of pods: the node's name.
pub(crate) const BY_NODE: &str = "node";

pub(crate) struct Caches {
    pub(crate) pods: Arc<WatchCache<PodView>>,
    pub(crate) replica_sets: Arc<WatchCache<RsView>>,
    pub(crate) nodes: Arc<WatchCache>,
    pub(crate) namespaces: Arc<WatchCache>,
}

impl Caches {
    pub(crate) fn start(client_for: &dyn Fn(&str) -> Arc<dyn Client>, cancel: &CancellationToken) -> Self {
        let spec = WatchSpec::all;
        Self {
            pods: WatchCache::projected(spec(gvr::<Pod>()), PodView::of)
                .index(BY_OWNER, |pod: &PodView| pod.owner.iter().map(|owner| owner.uid.clone()).collect())
                .index(BY_NODE, |pod: &PodView| if pod.node.is_empty() { Vec::new() } else { vec![pod.node.clone()] })
                .start(client_for("replicaset-controller"), cancel.clone()),
            replica_sets: WatchCache::projected(spec(gvr::<ReplicaSet>()), RsView::of)
                .start(client_for("replicaset-controller"), cancel.clone()),
            nodes: WatchCache::objects(spec(gvr::<Node>())).start(client_for("node-controller"), cancel.clone()),
            namespaces: WatchCache::objects(spec(gvr::<Namespace>())).start(client_for("namespace-controller"), cancel.clone()),
        }
    }

    pub(crate) async fn synced(&self) {
        self.pods.synced().await;
        self.replica_sets.synced().await;
        self.nodes.synced().await;
        self.namespaces.synced().await;
    }
}
