//! Ingress on one node: a reverse proxy for HTTP/1.1 and HTTP/2, with TLS, in front of the endpoints of services.
//!
//! A pure core compiles Ingresses ([`compile`]) into a table of rules by host and path ([`table`]) that knows nothing of them,
//! and finds the endpoints of services ([`resolve`]). The proxy looks requests up in the table that counts when they come, and
//! streams them to an endpoint. A loop in between follows the cluster and swaps tables (docs/decisions/0045).

mod announce;
mod backend;
mod body;
mod caches;
mod certificates;
pub mod compile;
#[cfg(test)]
mod early_answers;
mod endpoint;
mod follow;
mod forward;
mod headers;
mod idle;
mod link;
mod listener;
pub mod path;
mod proxy;
pub mod resolve;
pub mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod wire;
mod workers;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mizzen_api::ObjectRef;
use mizzen_client::Client;
use mizzen_network::Subnet;
use mizzen_reconcile::{Backoff, Clock, Recorder};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use caches::Caches;
use follow::Follower;
use listener::Doors;
use proxy::Proxy;

/// How a proxy is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens, on both ports of each.
    pub addresses: Vec<IpAddr>,
    pub http_port: u16,
    pub https_port: u16,
    /// Where clients find it, addresses and host names, if that is not where it listens.
    pub published: Vec<String>,
    /// Other proxies before this one, which may say whom they ask for (`X-Forwarded-*`).
    pub trusted_proxies: Vec<Subnet>,
    /// A Secret with the certificate for names that no ingress has one for.
    pub default_certificate: Option<ObjectRef>,
}

/// What a proxy is started with.
pub struct Config {
    /// `None` for a node without a proxy, which only says so.
    pub settings: Option<Settings>,
    pub node_name: String,
    /// As the node.
    pub node_client: Arc<dyn Client>,
    /// May read ingresses, services and TLS secrets: bound to the role `system:controller:ingress-proxy`.
    pub client: Arc<dyn Client>,
    pub clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    #[error("set up TLS: {0}")]
    Tls(#[source] rustls::Error),
    #[error("start the proxy's threads: {0}")]
    Threads(#[source] std::io::Error),
}

/// Somebody else may have the port.
const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
/// After so long it is said that the proxy waits for what it may not read, most often.
const PATIENCE: Duration = Duration::from_secs(15);

/// Serves ingresses until `cancel`; then requests under way get a few seconds to end.
///
/// # Errors
/// When TLS cannot be set up, or there are no threads to be had.
pub async fn run(config: Config, cancel: CancellationToken) -> Result<(), IngressError> {
    let Config { settings, node_name, node_client, client, clock } = config;
    let nodes = announce::own_node(node_client.clone(), &node_name, cancel.clone());
    let (reached, announced) = watch::channel(None);
    let announcing = announce::keep(node_client, &node_name, nodes.clone(), announced);
    let Some(settings) = settings else {
        reached.send_replace(None);
        tokio::select! {
            () = cancel.cancelled() => {}
            () = announcing => {}
        }
        return Ok(());
    };
    let proxy = Arc::new(Proxy::new(settings.https_port, cancel.clone()));
    let doors = Arc::new(Doors::new(proxy.clone(), settings.trusted_proxies.clone(), cancel.clone())?);
    let recorder = Recorder::start(client.clone(), clock, "mizzen-ingress", &node_name);
    let caches = Caches::start(&client, nodes, &cancel);
    let mut follower = Follower::new(caches, proxy, recorder, settings.default_certificate.clone());
    let serving = async {
        say_when_late(follower.begin(), &node_name).await;
        // Who is let in finds all rules.
        tokio::join!(follower.run(), listen(&settings, &doors, &reached));
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = announcing => {}
        () = serving => {}
    }
    doors.closed().await;
    Ok(())
}

async fn say_when_late(beginning: impl Future<Output = ()>, node: &str) {
    let mut beginning = std::pin::pin!(beginning);
    if tokio::time::timeout(PATIENCE, beginning.as_mut()).await.is_err() {
        tracing::warn!(
            node,
            "ingresses are not served yet: the server is away, or the node may not read what they lead to (bind it to the \
             cluster role system:controller:ingress-proxy)"
        );
        beginning.await;
    }
}

/// Listens everywhere, and says where clients find the proxy as soon as both ports of an address are open. Never ends.
async fn listen(settings: &Settings, doors: &Arc<Doors>, reached: &watch::Sender<Option<String>>) {
    let mut opening = JoinSet::new();
    for address in settings.addresses.iter().copied() {
        let (http, https) = (SocketAddr::new(address, settings.http_port), SocketAddr::new(address, settings.https_port));
        opening.spawn(async move { (address, tokio::join!(bind(http), bind(https))) });
    }
    let mut open = BTreeSet::new();
    let mut serving = JoinSet::new();
    while let Some(opened) = opening.join_next().await {
        let Ok((address, (http, https))) = opened else { continue };
        serving.spawn(doors.clone().serve(http, false));
        serving.spawn(doors.clone().serve(https, true));
        open.insert(address.to_string());
        let told = if settings.published.is_empty() { open.iter().cloned().collect() } else { settings.published.clone() };
        reached.send_replace(Some(told.join(",")));
    }
    while serving.join_next().await.is_some() {}
    std::future::pending().await
}

async fn bind(address: SocketAddr) -> TcpListener {
    let mut failures = 0;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(%address, %error, "ingresses are not served here until it succeeds");
                }
                tokio::time::sleep(RETRY.delay(failures)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}
