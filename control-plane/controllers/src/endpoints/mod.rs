//! Where services lead: EndpointSlices and Endpoints of the pods that a service selects, EndpointSlices of the Endpoints
//! that somebody else wrote, and those of the cluster's names.

mod cluster_dns;
mod core;
mod mirror;
mod pods;
mod service_view;
mod slices;
mod trigger_time;
mod wake;

pub(crate) use service_view::ServiceView;

use crate::context::Context;

/// Label of a slice: the service it belongs to.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label of a slice: who keeps it.
pub(crate) const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Label of Endpoints: who keeps them.
const ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Label of Endpoints that stay without mirrored slices.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Label of Endpoints and slices whose service has no address of its own.
const HEADLESS: &str = "service.kubernetes.io/headless";

pub(crate) fn start(context: &Context) {
    slices::start(context);
    core::start(context);
    mirror::start(context);
    cluster_dns::start(context);
}

/// The service whose slice this is, as an index value; see [`slice_index`].
pub(crate) fn slice_owner(slice: &mizzen_api::Object) -> Vec<String> {
    let head = slice.head();
    let label = |key: &str| head.labels.get(key).map(String::as_str);
    match (label(SERVICE_NAME), label(SLICE_MANAGED_BY)) {
        (Some(service), Some(manager)) => vec![slice_index(&head.namespace, service, manager)],
        _ => Vec::new(),
    }
}

fn slice_index(namespace: &str, service: &str, manager: &str) -> String {
    format!("{namespace}/{service} {manager}")
}
