//! Which services a change concerns.

use mizzen_reconcile::{Queue, WatchCache};

use super::{ServiceView, pods};
use crate::caches::{BY_NODE, Caches};
use crate::pod_view::PodView;

/// A node's failure domain.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// Puts services into `queue` as they change, and as the pods do that they select or selected.
pub(super) fn by_services_and_pods(caches: &Caches, queue: &Queue) {
    caches.services.enqueue(queue);
    let (services, queue) = (caches.services.clone(), queue.clone());
    caches.pods.on_change(move |change| {
        if let (Some(old), Some(new)) = (change.old, change.new)
            && !pods::differ(old, new)
        {
            return;
        }
        add_selecting(&services, &queue, &change.key.namespace, &[change.old, change.new].map(|pod| pod.map(|pod| &**pod)));
    });
}

/// Puts the services into `queue` whose pods run on a node that changed its zone.
pub(super) fn by_zones(caches: &Caches, queue: &Queue) {
    let (services, pods, queue) = (caches.services.clone(), caches.pods.clone(), queue.clone());
    caches.nodes.on_change(move |change| {
        let zone =
            |node: Option<&std::sync::Arc<mizzen_api::Object>>| node.and_then(|node| node.head().labels.get(ZONE).cloned());
        if zone(change.old) != zone(change.new) {
            for pod in pods.by(BY_NODE, &change.key.name) {
                add_selecting(&services, &queue, &pod.key.namespace, &[Some(&pod)]);
            }
        }
    });
}

fn add_selecting(services: &WatchCache<ServiceView>, queue: &Queue, namespace: &str, pods: &[Option<&PodView>]) {
    for service in services.in_namespace(namespace) {
        if pods.iter().flatten().any(|pod| service.selects(&pod.labels)) {
            queue.add(service.key.clone());
        }
    }
}
