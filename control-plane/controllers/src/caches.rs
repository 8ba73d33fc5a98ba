//! The caches that controllers share. Each is filled as a controller that may read the resource anyway; every write
//! goes under the writing controller's own identity.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Endpoints, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_client::Client;
use mizzen_reconcile::typed::gvr;
use mizzen_reconcile::{WatchCache, WatchSpec};
use tokio_util::sync::CancellationToken;

use crate::endpoints::{self, ServiceView};
use crate::job::JobView;
use crate::pod_view::PodView;
use crate::replicaset::RsView;
use crate::revisions::Revision;

/// Index of pods, of revisions and of jobs: the uid of the controller.
pub(crate) const BY_OWNER: &str = "owner";
/// Index of pods: the node's name.
pub(crate) const BY_NODE: &str = "node";
/// Index of pods: the volume claims that they use.
pub(crate) const BY_CLAIM: &str = "claim";

/// Index of services: their address.
pub(crate) const BY_ADDRESS: &str = "address";
/// Index of slices: their service and who keeps them.
pub(crate) const BY_SERVICE: &str = "service";

pub(crate) struct Caches {
    pub(crate) pods: Arc<WatchCache<PodView>>,
    pub(crate) replica_sets: Arc<WatchCache<RsView>>,
    /// Of DaemonSets and StatefulSets.
    pub(crate) revisions: Arc<WatchCache<Revision>>,
    pub(crate) jobs: Arc<WatchCache<JobView>>,
    pub(crate) nodes: Arc<WatchCache>,
    pub(crate) namespaces: Arc<WatchCache>,
    pub(crate) services: Arc<WatchCache<ServiceView>>,
    pub(crate) slices: Arc<WatchCache>,
    pub(crate) endpoints: Arc<WatchCache>,
}

impl Caches {
    pub(crate) fn start(client_for: &dyn Fn(&str) -> Arc<dyn Client>, cancel: &CancellationToken) -> Self {
        let spec = WatchSpec::all;
        Self {
            pods: WatchCache::projected(spec(gvr::<Pod>()), PodView::of)
                .index(BY_OWNER, |pod: &PodView| pod.owner.iter().map(|owner| owner.uid.clone()).collect())
                .index(BY_NODE, |pod: &PodView| if pod.node.is_empty() { Vec::new() } else { vec![pod.node.clone()] })
                .index(BY_CLAIM, |pod: &PodView| pod.claims.iter().map(ToString::to_string).collect())
                .start(client_for("replicaset-controller"), cancel.clone()),
            replica_sets: WatchCache::projected(spec(gvr::<ReplicaSet>()), RsView::of)
                .start(client_for("replicaset-controller"), cancel.clone()),
            revisions: WatchCache::projected(spec(gvr::<ControllerRevision>()), Revision::of)
                .index(BY_OWNER, |revision: &Revision| revision.owner.iter().cloned().collect())
                .start(client_for("daemon-set-controller"), cancel.clone()),
            jobs: WatchCache::projected(spec(gvr::<Job>()), JobView::of)
                .index(BY_OWNER, |job: &JobView| job.controller.iter().map(|owner| owner.uid.clone()).collect())
                .start(client_for("job-controller"), cancel.clone()),
            nodes: WatchCache::objects(spec(gvr::<Node>())).start(client_for("node-controller"), cancel.clone()),
            namespaces: WatchCache::objects(spec(gvr::<Namespace>())).start(client_for("namespace-controller"), cancel.clone()),
            services: WatchCache::projected(spec(gvr::<Service>()), ServiceView::of)
                .index(BY_ADDRESS, |service: &ServiceView| service.addresses().into_iter().map(str::to_owned).collect())
                .start(client_for("endpointslice-controller"), cancel.clone()),
            slices: WatchCache::objects(spec(gvr::<EndpointSlice>()))
                .index(BY_SERVICE, endpoints::slice_owner)
                .start(client_for("endpointslice-controller"), cancel.clone()),
            endpoints: WatchCache::objects(spec(gvr::<Endpoints>())).start(client_for("endpoint-controller"), cancel.clone()),
        }
    }

    pub(crate) async fn synced(&self) {
        self.pods.synced().await;
        self.replica_sets.synced().await;
        self.revisions.synced().await;
        self.jobs.synced().await;
        self.nodes.synced().await;
        self.namespaces.synced().await;
        self.services.synced().await;
        self.slices.synced().await;
        self.endpoints.synced().await;
    }
}
