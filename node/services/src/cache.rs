//! What the node knows of services: mirrors of Services, EndpointSlices, ServiceCIDRs and its own Node.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use mizzen_api::{Object, ObjectRef};
use mizzen_client::Client;
use mizzen_network::Subnet;
use mizzen_reconcile::typed::{gvr, view};
use mizzen_reconcile::{Feed, WatchCache, WatchSpec};
use tokio_util::sync::CancellationToken;

use crate::endpoints::Place;
use crate::service::ServiceView;
use crate::slice::SliceView;

const BY_SERVICE: &str = "service";
/// Slices with these labels are not for proxies.
const NOT_PROXIED: [&str; 2] = ["service.kubernetes.io/headless", "service.kubernetes.io/service-proxy-name"];
const ZONE: &str = "topology.kubernetes.io/zone";

pub struct ServiceCaches {
    pub services: Arc<WatchCache<ServiceView>>,
    pub(crate) slices: Arc<WatchCache<SliceView>>,
    pub(crate) places: Arc<WatchCache<Place>>,
    pub(crate) ranges: Arc<WatchCache<Vec<Subnet>>>,
    node: String,
}

impl ServiceCaches {
    /// Starts to mirror until `cancel`, services and slices by watches of all of them that others may share.
    pub fn start(
        (service_feed, slice_feed): (&mut Feed, &mut Feed),
        client: &Arc<dyn Client>,
        node: &str,
        cancel: &CancellationToken,
    ) -> Arc<Self> {
        let services = WatchCache::projected(WatchSpec::all(gvr::<Service>()), |object: &Arc<Object>| {
            Some(ServiceView::of(&*view::<Service>(object).ok()?))
        });
        let slices = WatchCache::projected(WatchSpec::all(gvr::<EndpointSlice>()), |object: &Arc<Object>| {
            let is_proxied = NOT_PROXIED.iter().all(|label| !object.head().labels.contains_key(*label));
            SliceView::of(&*view::<EndpointSlice>(object).ok().filter(|_| is_proxied)?)
        });
        let own = WatchSpec::all(gvr::<Node>()).fields(&format!("metadata.name={node}"));
        let places = WatchCache::projected(own, |object: &Arc<Object>| {
            let node = view::<Node>(object).ok()?;
            let zone = node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE).cloned());
            Some(Place { node: node.metadata.name.clone().unwrap_or_default(), zone })
        });
        let ranges = WatchCache::projected(WatchSpec::all(gvr::<ServiceCIDR>()), |object: &Arc<Object>| {
            let cidrs = view::<ServiceCIDR>(object).ok()?.spec.clone()?.cidrs?;
            Some(cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect())
        });
        Arc::new(Self {
            services: services.fed_by(service_feed),
            slices: slices.index(BY_SERVICE, |slice: &SliceView| vec![slice.service.to_string()]).fed_by(slice_feed),
            places: places.start(client.clone(), cancel.clone()),
            ranges: ranges.start(client.clone(), cancel.clone()),
            node: node.to_owned(),
        })
    }

    /// Waits until services, slices and ranges have been read once.
    pub(crate) async fn synced(&self) {
        self.ranges.synced().await;
        self.services.synced().await;
        self.slices.synced().await;
    }

    pub(crate) fn slices_of(&self, service: &ObjectRef) -> Vec<Arc<SliceView>> {
        self.slices.by(BY_SERVICE, &service.to_string())
    }

    /// Where services have their addresses, as the cluster says.
    pub fn ranges(&self) -> impl Iterator<Item = Subnet> + use<> {
        self.ranges.list().into_iter().flat_map(|ranges| ranges.to_vec())
    }

    /// Where the node is, as far as it is known.
    pub fn place(&self) -> Place {
        let known = self.places.get(&ObjectRef::cluster(&self.node));
        known.map_or_else(|| Place { node: self.node.clone(), zone: None }, |place| (*place).clone())
    }
}
