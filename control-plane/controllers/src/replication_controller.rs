//! ReplicationController: a ReplicaSet of former days, with labels for a selector.

use k8s_openapi::api::core::v1::ReplicationController;
use mizzen_reconcile::{WatchCache, WatchSpec, typed};

use crate::context::Context;
use crate::replicaset::{self, RsView};

const NAME: &str = "replication-controller";

pub(crate) fn start(context: &Context) {
    let all = WatchSpec::all(typed::gvr::<ReplicationController>());
    let controllers =
        WatchCache::projected(all, RsView::of_replication_controller).start(context.client(NAME), context.cancel.clone());
    replicaset::start_for::<ReplicationController>(context, NAME, controllers);
}
