//! The node's ways to the pods of other nodes: kept as the control plane tells of them (docs/decisions/0043).

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_api::Object;
use mizzen_network::{Kept, Peer};
use mizzen_reconcile::typed::{gvr, view};
use mizzen_reconcile::{Backoff, WatchCache, WatchSpec};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

/// Annotation of a Node: the block of addresses that its pods have. Of a slice: that of the node which it is about.
pub(crate) const POD_CIDR: &str = "mizzen.dev/pod-cidr";
const NAMESPACE: &str = "kube-system";
const BLOCKS: &str = "endpointslice.kubernetes.io/managed-by=pod-network.mizzen.dev";
/// How often to look whether somebody has taken ways away.
const LOOK: Duration = Duration::from_secs(3);
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));

/// Runs until `cancel`. The ways stay.
pub(crate) async fn run(shared: Arc<Shared>, cancel: CancellationToken) {
    let spec = WatchSpec::all(gvr::<EndpointSlice>()).namespace(NAMESPACE).labels(BLOCKS);
    let blocks = WatchCache::projected(spec, peer).start(shared.client.clone(), cancel);
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
    let (mut told, mut mismatch, mut failures) = (Kept::default(), None, 0);
    loop {
        let own = blocks.list().into_iter().find(|peer| peer.node == shared.node_name);
        let mut peers: Vec<Peer> = blocks.list().iter().map(|peer| (**peer).clone()).collect();
        peers.retain(|peer| peer.node != shared.node_name);
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
        if let Some(own) = own.filter(|own| own.block != shared.network.pod_cidr() && mismatch != Some(own.block)) {
            tell_mismatch(&shared, &own);
            mismatch = Some(own.block);
        }
        // A node that is alone has nothing that could be taken away.
        let has_ways = !peers.is_empty() || failures > 0;
        tokio::select! {
            () = wake.notified() => {}
            _ = ticks.tick(), if has_ways => {}
        }
    }
}

fn peer(slice: &Arc<Object>) -> Option<Peer> {
    let slice = view::<EndpointSlice>(slice).ok()?;
    let endpoint = slice.endpoints.as_ref()?.first()?;
    Some(Peer {
        node: endpoint.node_name.clone()?,
        address: endpoint.addresses.first()?.parse().ok()?,
        block: slice.metadata.annotations.as_ref()?.get(POD_CIDR)?.parse().ok()?,
    })
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
fn tell_mismatch(shared: &Shared, own: &Peer) {
    let (has, name, given) = (shared.network.pod_cidr(), &own.node, own.block);
    let text = format!(
        "The node's pods have addresses of {has}, but its podCIDR is {given}, so that other nodes do not reach them: delete Node \
         {name}, which comes back with {has} if no other node has it, or else run mizzen down there and start it again"
    );
    tracing::error!("{text}");
    shared.recorder.warning(&super::about(&shared.node_name), "PodCIDRMismatch", text);
}
