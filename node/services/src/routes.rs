//! Ways from the node's own programs to services, for each range that services have addresses in.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::ServiceCIDR;
use mizzen_api::Object;
use mizzen_client::Client;
use mizzen_network::{Network, Subnet};
use mizzen_reconcile::typed::{gvr, view};
use mizzen_reconcile::{WatchCache, WatchSpec};
use tokio_util::sync::CancellationToken;

/// Runs until `cancel`.
pub async fn run(client: Arc<dyn Client>, network: Arc<Network>, cancel: CancellationToken) {
    let ranges = WatchCache::projected(WatchSpec::all(gvr::<ServiceCIDR>()), |object: &Arc<Object>| {
        let cidrs = view::<ServiceCIDR>(object).ok()?.spec.clone()?.cidrs?;
        Some(cidrs.iter().filter_map(|cidr| cidr.parse::<Subnet>().ok()).collect::<Vec<_>>())
    });
    let ranges = ranges.start(client, cancel);
    let mut changed = ranges.subscribe();
    while let Some(key) = changed.recv().await {
        for range in ranges.get(&key).iter().flat_map(|ranges| ranges.iter()) {
            if let Err(error) = network.route_services(*range).await {
                tracing::warn!(%error, %range, "programs of this machine do not reach services in this range");
            }
        }
    }
}
