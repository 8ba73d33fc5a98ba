//! The node's ways to the pods of other nodes: kept as the control plane tells of them (docs/decisions/0043).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_api::Object;
use mizzen_api::node_annotations::{OTHER_ADDRESSES, POD_CIDR};
use mizzen_network::{Family, Peer, Subnet};
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

/// The other nodes whose pods are not reached, and why.
pub(crate) type Unreached = BTreeMap<String, String>;

/// What the control plane tells of a node.
#[derive(PartialEq, Eq)]
struct Told {
    blocks: Vec<Peer>,
    /// The cluster hears of it: one that it does not hear of is not asked whether it answers.
    is_ready: bool,
}

/// Runs until `cancel`. The ways stay.
pub(crate) async fn run(shared: Arc<Shared>, cancel: CancellationToken) {
    let spec = WatchSpec::all(gvr::<EndpointSlice>()).namespace(NAMESPACE).labels(BLOCKS);
    let blocks = WatchCache::projected(spec, told).start(shared.client.clone(), cancel);
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
    let (mut left_out, mut silent, mut mismatch, mut failures) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut is_turn = false;
    loop {
        let nodes = blocks.list();
        let all: Vec<Peer> = nodes.iter().flat_map(|node| node.blocks.clone()).collect();
        let (own, mut peers): (Vec<_>, Vec<_>) = all.into_iter().partition(|peer| peer.node == shared.node_name);
        peers.sort();
        match shared.network.keep_peers(&peers).await {
            Ok(kept) => {
                failures = 0;
                tell_restored(&shared, kept.restored);
                left_out = kept.left_out;
            }
            Err(error) => {
                tracing::warn!(%error, "the ways to other nodes' pods are not as they should be; this is tried again");
                let retry = RETRY.delay(failures);
                failures = failures.saturating_add(1);
                ticks.reset_at(Instant::now() + retry);
            }
        }
        let up = nodes.iter().filter(|node| node.is_ready).flat_map(|node| &node.blocks).map(|peer| peer.node.as_str()).collect();
        if is_turn {
            match shared.network.probe_peers(&up, Instant::now()).await {
                Ok(now) => silent = now,
                Err(error) => tracing::debug!(%error, "whether other nodes answer is not known"),
            }
        }
        silent.retain(|(node, _)| up.contains(node.as_str()));
        keep_unreached(&shared, unreached(&left_out, &silent), &up);
        let given: Vec<Subnet> = own.iter().map(|own| own.block).collect();
        if !given.is_empty() && mismatch != given && !shared.network.pod_cidrs().eq(given.iter().copied()) {
            tell_mismatch(&shared, &given);
            mismatch = given;
        }
        // A node that is alone has nothing that could be taken away.
        let has_ways = !peers.is_empty() || failures > 0;
        is_turn = tokio::select! {
            () = wake.notified() => false,
            _ = ticks.tick(), if has_ways => true,
        };
    }
}

fn unreached(left_out: &[(String, &str)], silent: &[(String, IpAddr)]) -> Unreached {
    let silent = silent.iter().map(|(node, address)| {
        (node.clone(), format!("it does not answer echo requests (ICMP) to {address}, the first address of its pods' range"))
    });
    silent.chain(left_out.iter().map(|(node, why)| (node.clone(), (*why).to_owned()))).collect()
}

/// A node's blocks, each with its address of the same family, or its first.
fn told(slice: &Arc<Object>) -> Option<Told> {
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
    let blocks = listed(POD_CIDR).filter_map(|block| block.parse().ok()).map(peer).collect::<Option<_>>()?;
    let is_ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
    Some(Told { blocks, is_ready })
}

/// Ranges, as annotations list them.
pub(crate) fn joined(ranges: impl Iterator<Item = Subnet>) -> String {
    ranges.map(|range| range.to_string()).collect::<Vec<_>>().join(",")
}

fn tell_restored(shared: &Shared, restored: usize) {
    if restored > 0 {
        let text = format!("{restored} ways to other nodes' pods had been changed by somebody else: they were put back");
        tracing::warn!("{text}");
        shared.recorder.warning(&super::about(&shared.node_name), "PodRoutesRestored", text);
    }
}

/// Notes it for the node's status, and tells what is new. Of a node that is not `up`, nobody knows whether it is reached again.
fn keep_unreached(shared: &Shared, now: Unreached, up: &BTreeSet<&str>) {
    let before = std::mem::replace(&mut *shared.unreached.lock(), now.clone());
    let about = super::about(&shared.node_name);
    for (node, why) in now.iter().filter(|(node, why)| before.get(*node) != Some(why)) {
        let text = format!("The pods of node {node} are not reached: {why}");
        tracing::warn!("{text}");
        shared.recorder.warning(&about, "PeerUnreachable", text);
    }
    for node in before.keys().filter(|node| !now.contains_key(*node) && up.contains(node.as_str())) {
        shared.recorder.normal(&about, "PeerReached", format!("The pods of node {node} are reached again"));
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
