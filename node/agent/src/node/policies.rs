//! The node's part in network policies: what of the node they depend on.

use std::sync::Arc;

use mizzen_client::Client;
use mizzen_network::Network;
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
    let config = PoliciesConfig {
        client: client.clone(),
        node: node.to_owned(),
        ledger: Arc::new(move |uid| ledger.pod_address(uid)),
        names: Some(network.pod_cidr().gateway()),
        tables: vec![
            (Side::Machine, Arc::new(Nft::of(network, Side::Machine))),
            (Side::Wasm, Arc::new(Nft::of(network, Side::Wasm))),
        ],
        on_repair: Arc::new(on_repair),
    };
    Policies::start(config, cancel)
}
