//! The node's part in services: the rules that lead their traffic.

use std::sync::Arc;

use mizzen_services::compile::Node;
use mizzen_services::frame::Scope;
use mizzen_services::nft::Nft;
use mizzen_services::{Proxy, ProxyConfig, ServiceCaches, conntrack, routes};
use tokio_util::sync::CancellationToken;

use super::health_ports::HealthPorts;
use crate::shared::Shared;

/// Runs until `cancel`. The rules stay.
pub(crate) async fn run(shared: Arc<Shared>, cancel: CancellationToken) {
    let scope = Scope::of(&shared.network);
    let (bridge, network) = (scope.bridge.clone(), shared.network.clone());
    let node = move |caches: &ServiceCaches| Node {
        place: caches.place(),
        bridge: bridge.clone(),
        pods: network.pod_cidr(),
        wasm: network.wasm_addresses(),
    };
    let (telling, table) = (shared.clone(), scope.table.clone());
    let on_repair = move |what: String| {
        let told = format!("{what} (nftables table {table}): they were put back");
        tracing::warn!("{told}");
        telling.recorder.warning(&super::about(&telling.node_name), "ServiceRulesRestored", told);
    };
    let health = HealthPorts::default();
    let proxy = Proxy::new(ProxyConfig {
        caches: shared.services.clone(),
        apply: Arc::new(Nft::new(scope)),
        node: Box::new(node),
        on_health: Box::new(move |service, wanted| health.set(service, wanted)),
        forget: Arc::new(conntrack::forget_udp),
        on_repair: Box::new(on_repair),
    });
    let on_routes = |count: usize| {
        let told = format!("{count} routes to services had been removed by somebody else: they were put back");
        tracing::warn!("{told}");
        shared.recorder.warning(&super::about(&shared.node_name), "ServiceRoutesRestored", told);
    };
    tokio::join!(proxy.run(), routes::run(shared.client.clone(), shared.network.clone(), on_routes, cancel));
}
