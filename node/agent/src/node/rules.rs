//! The node's own nftables table (masquerading, host ports): put back when somebody else has taken it away.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::shared::Shared;

const LOOK: Duration = Duration::from_secs(2);

/// Runs for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match shared.network.keep_rules().await {
            Ok(false) => {}
            Ok(true) => {
                let table = shared.network.config().table();
                let told = "Rules of host ports and masquerading had been removed by somebody else";
                let told = format!("{told} (nftables table {table}): they were put back");
                tracing::warn!("{told}");
                shared.recorder.warning(&super::about(&shared.node_name), "NodeRulesRestored", told);
            }
            Err(error) => tracing::warn!(%error, "the rules of host ports and masquerading are gone; this is tried again"),
        }
    }
}
