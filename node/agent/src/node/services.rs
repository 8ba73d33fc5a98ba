//! The node's part in services: the rules that lead their traffic.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use mizzen_services::compile::Node;
use mizzen_services::frame::Scope;
use mizzen_services::nft::Nft;
use mizzen_services::{Proxy, ProxyConfig, ServiceCaches, conntrack, routes};

use super::health_ports::HealthPorts;
use crate::shared::Shared;

/// To be called before a pod runs: has packets to services wait for rules where there are none yet. A node without its
/// control plane beside it knows from an earlier process where services are.
pub(crate) async fn hold(shared: &Shared) {
    let remembered = shared.network.remembered_service_ranges().unwrap_or_else(|error| {
        tracing::warn!(%error, "where services were is not known");
        BTreeSet::new()
    });
    let ranges: Vec<_> = remembered.into_iter().chain(shared.network.service_cidr()).collect();
    for scope in Scope::all(&shared.network) {
        if let Err(error) = Nft::new(scope).hold(&ranges).await {
            tracing::warn!(%error, "packets to services pass until there are rules");
        }
    }
}

/// Never ends. The rules stay.
pub(crate) async fn run(shared: Arc<Shared>) {
    let health = Arc::new(HealthPorts::default());
    let proxies = Scope::all(&shared.network).map(|scope| proxy(&shared, scope, health.clone()).run());
    let on_routes = |count: usize| {
        let told = format!("{count} routes to services had been removed by somebody else: they were put back");
        tracing::warn!("{told}");
        shared.recorder.warning(&super::about(&shared.node_name), "ServiceRoutesRestored", told);
    };
    tokio::join!(join_all(proxies), routes::run(shared.services.clone(), shared.network.clone(), on_routes));
}

/// What leads the packets of one family.
fn proxy(shared: &Arc<Shared>, scope: Scope, health: Arc<HealthPorts>) -> Proxy {
    let (bridge, pods, network) = (scope.bridge.clone(), scope.pods, shared.network.clone());
    let node = move |caches: &ServiceCaches| Node {
        place: caches.place(),
        bridge: bridge.clone(),
        pods,
        wasm: network.wasm_addresses(),
        service_ranges: caches.ranges().chain(network.service_cidr()).collect(),
    };
    let (telling, table) = (shared.clone(), scope.place());
    let on_repair = move |what: String| {
        let told = format!("{what} (nftables table {table}): they were put back");
        tracing::warn!("{told}");
        telling.recorder.warning(&super::about(&telling.node_name), "ServiceRulesRestored", told);
    };
    Proxy::new(ProxyConfig {
        caches: shared.services.clone(),
        apply: Arc::new(Nft::new(scope)),
        node: Box::new(node),
        on_health: Box::new(move |service, wanted| health.set(service, wanted)),
        forget: Arc::new(move |stale| conntrack::forget(pods.family(), stale)),
        on_repair: Box::new(on_repair),
    })
}
