//! The node's ways to the pods of other nodes: kept as the control plane tells of them (docs/decisions/0043).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_api::Object;
use mizzen_api::node_annotations::{OTHER_ADDRESSES, POD_CIDR};
use mizzen_network::{Family, Kept, Peer, Subnet};
use mizzen_reconcile::typed::{gvr, view};
use mizzen_reconcile::{Backoff, WatchCache, WatchSpec};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

const NAMESPACE: &str = "kube-system";
const BLOCKS: &str = "endpointslice.kubernetes.io/managed-by=pod-network.mizzen.dev";
/// How often to look whether somebody has taken ways away.
const LOOK: Duration = Duration::from_secs(3);
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));

/// Runs until `cancel`. The ways stay.
pub(crate) async fn run(shared: Arc<Shared>, cancel: CancellationToken) {
    let spec = WatchSpec::all(gvr::<EndpointSlice>()).namespace(NAMESPACE).labels(BLOCKS);
    let blocks = WatchCache::projected(spec, peers).start(shared.client.clone(), cancel);
    let wake = Arc::new(Notify::new());
    let woken = wake.clone();
    blocks.on_change(move |change| {
        if change.old != change.new {
            woken.notify_one();
        }
    });
    blocks.synced().await;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut mismatch, mut failures) = (Kept::default(), Vec::new(), 0);
    loop {
        let all: Vec<Peer> = blocks.list().iter().flat_map(|peers| (**peers).clone()).collect();
        let (own, mut peers): (Vec<_>, Vec<_>) = all.into_iter().partition(|peer| peer.node == shared.node_name);
        peers.sort();
        match shared.network.keep_peers(&peers).await {
            Ok(kept) => {
                failures = 0;
                tell(&shared, &told, &kept);
                told = kept;
            }
            Err(error) => {
                tracing::warn!(%error, "the ways to other nodes' pods are not as they should be; this is tried again");
                let retry = RETRY.delay(failures);
                failures = failures.saturating_add(1);
                ticks.reset_at(Instant::now() + retry);
            }
        }
        let given: Vec<Subnet> = own.iter().map(|own| own.block).collect();
        if !given.is_empty() && mismatch != given && !shared.network.pod_cidrs().eq(given.iter().copied()) {
            tell_mismatch(&shared, &given);
            mismatch = given;
        }
        // A node that is alone has nothing that could be taken away.
        let has_ways = !peers.is_empty() || failures > 0;
        tokio::select! {
            () = wake.notified() => {}
            _ = ticks.tick(), if has_ways => {}
        }
    }
}

/// A node's blocks, each with its address of the same family, or its first.
fn peers(slice: &Arc<Object>) -> Option<Vec<Peer>> {
    let slice = view::<EndpointSlice>(slice).ok()?;
    let endpoint = slice.endpoints.as_ref()?.first()?;
    let annotations = slice.metadata.annotations.as_ref()?;
    let listed = |key: &str| annotations.get(key).into_iter().flat_map(|all| all.split(','));
    let others = listed(OTHER_ADDRESSES).map(str::to_owned);
    let addresses: Vec<IpAddr> = endpoint.addresses.iter().cloned().chain(others).filter_map(|ip| ip.parse().ok()).collect();
    let first = *addresses.first()?;
    let peer = |block: Subnet| {
        let own = addresses.iter().copied().find(|address| Family::of(*address) == block.family());
        Some(Peer { node: endpoint.node_name.clone()?, address: own.unwrap_or(first), block })
    };
    listed(POD_CIDR).filter_map(|block| block.parse().ok()).map(peer).collect()
}

/// Ranges, as annotations list them.
pub(crate) fn joined(ranges: impl Iterator<Item = Subnet>) -> String {
    ranges.map(|range| range.to_string()).collect::<Vec<_>>().join(",")
}

/// What is new in `kept`.
fn tell(shared: &Shared, told: &Kept, kept: &Kept) {
    let about = super::about(&shared.node_name);
    if kept.restored > 0 {
        let text = format!("{} ways to other nodes' pods had been changed by somebody else: they were put back", kept.restored);
        tracing::warn!("{text}");
        shared.recorder.warning(&about, "PodRoutesRestored", text);
    }
    for (node, why) in kept.left_out.iter().filter(|left| !told.left_out.contains(left)) {
        let text = format!("The pods of node {node} are not reached: {why}");
        tracing::warn!("{text}");
        shared.recorder.warning(&about, "PeerUnreachable", text);
    }
}

/// The machine has come to use the addresses otherwise, or the Node was deleted and another one was quicker.
fn tell_mismatch(shared: &Shared, given: &[Subnet]) {
    let (has, name, given) = (joined(shared.network.pod_cidrs()), &shared.node_name, joined(given.iter().copied()));
    let text = format!(
        "The node's pods have addresses of {has}, but its podCIDR is {given}, so that other nodes do not reach them: delete Node \
         {name}, which comes back with {has} if no other node has it, or else run mizzen down there and start it again"
    );
    tracing::error!("{text}");
    shared.recorder.warning(&super::about(&shared.node_name), "PodCIDRMismatch", text);
}
