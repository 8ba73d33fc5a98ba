//! The node's part in load balancers: it answers on its link for the addresses of services that the control plane has given it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mizzen_network::Announced;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use crate::shared::Shared;

/// How often to look whether somebody has taken an address away.
const LOOK: Duration = Duration::from_secs(3);
/// Neighbours are told so often of an address that is new here, a look apart: each telling may be lost.
const TELLINGS: u8 = 3;

/// Runs for ever. The addresses stay.
pub(crate) async fn run(shared: Arc<Shared>) {
    let wake = Arc::new(Notify::new());
    let (woken, services) = (wake.clone(), shared.services.services.clone());
    services.on_change(move |change| {
        if change.old.map(|service| service.announced()) != change.new.map(|service| service.announced()) {
            woken.notify_one();
        }
    });
    services.synced().await;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut repeat): (Announced, Vec<(IpAddr, u8)>) = Default::default();
    loop {
        let all = services.list();
        let wanted: BTreeSet<IpAddr> = all.iter().flat_map(|service| service.announced_by(&shared.node_name)).collect();
        let outcome = shared.network.announce(&wanted).await;
        let is_done = outcome.is_ok();
        match outcome {
            Ok(announced) => {
                for address in announced.left_out.iter().filter(|address| !told.left_out.contains(address)) {
                    let text = format!("{address} of a load balancer is on no link of this node, or in use there already");
                    tracing::warn!("{text}");
                    shared.recorder.warning(&super::about(&shared.node_name), "AddressNotAnnounced", text);
                }
                repeat.extend(announced.new.iter().map(|address| (*address, TELLINGS)));
                told = announced;
            }
            Err(error) => tracing::warn!(%error, "addresses of load balancers are not announced; this is tried again"),
        }
        repeat.retain_mut(|(address, left)| {
            *left = left.saturating_sub(1);
            *left > 0 && wanted.contains(address)
        });
        for (address, _) in repeat.iter().filter(|(_, left)| *left < TELLINGS - 1) {
            if let Err(error) = shared.network.tell_neighbours(*address).await {
                tracing::debug!(%error, "neighbours were not told again");
            }
        }
        let has_work = !wanted.is_empty() || !is_done;
        tokio::select! {
            () = wake.notified() => {}
            _ = ticks.tick(), if has_work => {}
        }
    }
}
