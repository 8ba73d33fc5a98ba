//! The control plane's part of ingresses that the cluster's own proxies serve (docs/decisions/0045): their class, and the
//! addresses in their status. The proxies run on nodes, which say by an annotation where they are reached.

mod class;
mod status;

use std::sync::Arc;

use k8s_openapi::api::networking::v1::IngressClass;
use mizzen_api::Object;
use mizzen_api::ingress::OwnClasses;
use mizzen_reconcile::typed::{self, gvr};
use mizzen_reconcile::{WatchCache, WatchSpec};

use crate::context::Context;

const ACCOUNT: &str = "ingress-controller";

pub(crate) fn start(context: &Context) {
    let classes =
        WatchCache::objects(WatchSpec::all(gvr::<IngressClass>())).start(context.client(ACCOUNT), context.cancel.clone());
    class::start(context, &classes);
    status::start(context, classes);
}

fn own_classes(classes: &WatchCache<Object>) -> OwnClasses {
    let classes: Vec<Arc<IngressClass>> = classes.list().iter().filter_map(|class| typed::view(class).ok()).collect();
    OwnClasses::of(classes.iter().map(|class| &**class))
}
