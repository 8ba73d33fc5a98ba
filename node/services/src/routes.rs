//! Ways from the node's own programs to services, for each range that services have addresses in.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mizzen_network::Network;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::cache::ServiceCaches;

/// How often to look whether somebody has taken ways away.
const LOOK: Duration = Duration::from_secs(3);

/// Never ends; the ways stay. `on_repair` is told how many somebody else had taken away.
pub async fn run(caches: Arc<ServiceCaches>, network: Arc<Network>, on_repair: impl Fn(usize) + Send + Sync) {
    let changed = Arc::new(Notify::new());
    let told = changed.clone();
    caches.ranges.on_change(move |_| told.notify_one());
    // What an earlier process led to stays until it is known what should be.
    caches.ranges.synced().await;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let wanted: BTreeSet<_> = caches.ranges().chain(network.service_cidr()).collect();
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
