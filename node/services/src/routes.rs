//! Ways from the node's own programs to services, for each range that services have addresses in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::networking::v1::ServiceCIDR;
use mizzen_api::Object;
use mizzen_client::Client;
use mizzen_network::{Network, Subnet};
use mizzen_reconcile::typed::{gvr, view};
use mizzen_reconcile::{WatchCache, WatchSpec};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often to look whether somebody has taken ways away.
const LOOK: Duration = Duration::from_secs(3);

/// Runs until `cancel`; the ways stay. `on_repair` is told how many somebody else had taken away.
pub async fn run(
    client: Arc<dyn Client>,
    network: Arc<Network>,
    on_repair: impl Fn(usize) + Send + Sync,
    cancel: CancellationToken,
) {
    let ranges = WatchCache::projected(WatchSpec::all(gvr::<ServiceCIDR>()), |object: &Arc<Object>| {
        let cidrs = view::<ServiceCIDR>(object).ok()?.spec.clone()?.cidrs?;
        Some(cidrs.iter().filter_map(|cidr| cidr.parse::<Subnet>().ok()).collect::<Vec<_>>())
    });
    let ranges = ranges.start(client, cancel);
    let changed = Arc::new(Notify::new());
    let told = changed.clone();
    ranges.on_change(move |_| told.notify_one());
    // What an earlier process led to stays until it is known what should be.
    ranges.synced().await;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let wanted: BTreeSet<_> =
            ranges.list().iter().flat_map(|ranges| ranges.iter().copied()).chain(network.service_cidr()).collect();
        match network.keep_service_routes(&wanted).await {
            Ok(0) => {}
            Ok(restored) => on_repair(restored),
            Err(error) => tracing::warn!(%error, "programs of this machine do not reach all services; this is tried again"),
        }
        tokio::select! {
            () = changed.notified() => {}
            _ = ticks.tick() => {}
        }
    }
}
