//! EndpointSlices of Endpoints that somebody wrote for a service without a selector
//! (`endpointslicemirroring-controller.k8s.io`), so that who follows services reads slices only.

mod desired;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Endpoints;
use mizzen_api::{Object, ObjectRef};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, typed};

use super::slices::keep::{self, Keeper, Meta};
use super::{ENDPOINTS_MANAGED_BY, SERVICE_NAME, SKIP_MIRROR, SLICE_MANAGED_BY, ServiceView};
use crate::claim;
use crate::context::Context;

const NAME: &str = "endpointslicemirroring-controller";
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// So many addresses of a subset are mirrored, in one slice.
const MAX_ENDPOINTS: usize = 1000;
/// Annotation of Endpoints that serve as a lock.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(super) fn start(context: &Context) {
    let queue = Queue::default();
    let caches = &context.caches;
    caches.endpoints.enqueue(&queue);
    caches.services.enqueue(&queue);
    keep::wake_by_slices(&caches.slices, &queue, MANAGER);
    let keeper =
        Keeper { client: context.client(NAME), slices: caches.slices.clone(), manager: MANAGER, max_endpoints: MAX_ENDPOINTS };
    let (services, endpoints) = (caches.services.clone(), caches.endpoints.clone());
    context.run(Controller::new("endpointslicemirroring", queue, Arc::new(Mirror { keeper, services, endpoints })).workers(5));
}

struct Mirror {
    keeper: Keeper,
    services: Arc<WatchCache<ServiceView>>,
    endpoints: Arc<WatchCache>,
}

#[async_trait]
impl Reconciler for Mirror {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let without_selector = self.services.get(&key).is_some_and(|service| !service.has_selector());
        match self.endpoints.get(&key).filter(|_| without_selector) {
            Some(object) => {
                let endpoints = typed::view::<Endpoints>(&object)?;
                if is_mirrored(&object, &endpoints) {
                    self.keeper.keep(&key, &meta(&object, &endpoints), &desired::groups(&endpoints)).await?;
                } else {
                    self.keeper.clear(&key).await?;
                }
            }
            None => self.keeper.clear(&key).await?,
        }
        Ok(Action::Done)
    }
}

fn is_mirrored(object: &Object, endpoints: &Endpoints) -> bool {
    let labels = &object.head().labels;
    let is_lock = endpoints.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    !is_lock && labels.get(SKIP_MIRROR).is_none_or(|skip| skip != "true") && !labels.contains_key(ENDPOINTS_MANAGED_BY)
}

fn meta(object: &Object, endpoints: &Endpoints) -> Meta {
    let head = object.head();
    let mut labels = (*head.labels).clone();
    labels.insert(SERVICE_NAME.to_owned(), head.name.clone());
    labels.insert(SLICE_MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    let owner = claim::controller_reference("v1", "Endpoints", &head.name, &head.uid);
    Meta { labels, annotations, owner, trigger: None }
}
