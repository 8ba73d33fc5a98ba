//! EndpointSlices of the pods that a service selects (`endpointslice-controller.k8s.io`).

mod desired;
pub(super) mod keep;
pub(super) mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::{Object, ObjectRef};
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache};

use super::wake::{self, ZONE};
use super::{HEADLESS, SERVICE_NAME, SLICE_MANAGED_BY, ServiceView, trigger_time};
use crate::claim;
use crate::context::Context;
use crate::pod_view::PodView;
use keep::{Keeper, Meta};

const NAME: &str = "endpointslice-controller";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// So many endpoints are put into one slice.
const MAX_ENDPOINTS: usize = 100;

pub(super) fn start(context: &Context) {
    let queue = Queue::default();
    let caches = &context.caches;
    wake::by_services_and_pods(caches, &queue);
    wake::by_zones(caches, &queue);
    keep::wake_by_slices(&caches.slices, &queue, MANAGER);
    let keeper =
        Keeper { client: context.client(NAME), slices: caches.slices.clone(), manager: MANAGER, max_endpoints: MAX_ENDPOINTS };
    let (services, pods, nodes) = (caches.services.clone(), caches.pods.clone(), caches.nodes.clone());
    context.run(Controller::new("endpointslice", queue, Arc::new(Slices { keeper, services, pods, nodes })).workers(5));
}

struct Slices {
    keeper: Keeper,
    services: Arc<WatchCache<ServiceView>>,
    pods: Arc<WatchCache<PodView>>,
    nodes: Arc<WatchCache<Object>>,
}

#[async_trait]
impl Reconciler for Slices {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        // The slices of a service that is gone go with it, by their owner references.
        if let Some(service) = self.services.get(&key).filter(|service| service.leads_to_pods()) {
            let mut pods = self.pods.in_namespace(&key.namespace);
            pods.retain(|pod| service.selects(&pod.labels));
            let zone_of = |node: &str| self.nodes.get(&ObjectRef::cluster(node))?.head().labels.get(ZONE).cloned();
            let groups = desired::groups(&service, &pods, zone_of);
            self.keeper.keep(&key, &meta(&service, &pods), &groups).await?;
        }
        Ok(Action::Done)
    }
}

fn meta(service: &ServiceView, pods: &[Arc<PodView>]) -> Meta {
    let mut labels = (*service.labels).clone();
    labels.remove(HEADLESS);
    if service.is_headless() {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.key.name.clone());
    labels.insert(SLICE_MANAGED_BY.to_owned(), MANAGER.to_owned());
    Meta {
        labels,
        annotations: BTreeMap::new(),
        owner: claim::controller_reference("v1", "Service", &service.key.name, &service.uid),
        trigger: trigger_time::newest(service, pods),
    }
}
