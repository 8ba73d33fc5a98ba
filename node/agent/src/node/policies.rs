//! The node's part in network policies: what of the node they depend on.

use std::sync::Arc;

use mizzen_client::Client;
use mizzen_network::{Network, Subnet};
use mizzen_policy::apply::Apply;
use mizzen_policy::frame::Side;
use mizzen_policy::nft::Nft;
use mizzen_policy::{Policies, PoliciesConfig};
use mizzen_reconcile::Recorder;
use tokio_util::sync::CancellationToken;

/// Until `cancel` policies are followed; they are enforced while [`Policies::run`] runs, and the rules stay.
pub(crate) fn start(
    client: &Arc<dyn Client>,
    network: &Arc<Network>,
    node: &str,
    recorder: &Recorder,
    cancel: &CancellationToken,
) -> Arc<Policies> {
    let (telling, name, table) = (recorder.clone(), node.to_owned(), network.config().policies_table());
    let on_repair = move |what: String| {
        let told = format!("{what} (nftables table {table}): they were put back");
        tracing::warn!("{told}");
        telling.warning(&super::about(&name), "NetworkPolicyRulesRestored", told);
    };
    let ledger = network.clone();
    let table_of = |side, family| (side, family, Arc::new(Nft::of(network, side, family)) as Arc<dyn Apply>);
    let tables = |family| [Side::Machine, Side::Wasm].map(|side| table_of(side, family));
    let config = PoliciesConfig {
        client: client.clone(),
        node: node.to_owned(),
        ledger: Arc::new(move |uid| ledger.pod_addresses(uid)),
        names: network.pod_cidrs().map(Subnet::gateway).collect(),
        tables: network.pod_cidrs().map(Subnet::family).flat_map(tables).collect(),
        on_repair: Arc::new(on_repair),
    };
    Policies::start(config, cancel)
}
