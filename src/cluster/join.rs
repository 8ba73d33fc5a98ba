//! Finding the server at the start of an agent.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use mizzen_client::http::{HttpClient, HttpError};
use mizzen_reconcile::Backoff;

use super::machine;

const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

/// Returns when the server answers. While it does not, `say` is told so, once for each reason.
///
/// # Errors
/// When trying again would not help: it is another cluster's server, or it does not know the node.
pub async fn wait_for_server(client: &HttpClient, mut say: impl FnMut(&str)) -> Result<(), HttpError> {
    let mut said = String::new();
    for failures in 0.. {
        let why = match client.ready().await {
            Ok(()) => break,
            Err(error @ (HttpError::Unreachable { .. } | HttpError::NotReady { .. })) => error.to_string(),
            Err(error) => return Err(error),
        };
        if why != said {
            say(&why);
            said = why;
        }
        tokio::time::sleep(RETRY.delay(failures)).await;
    }
    Ok(())
}

/// This machine's address as the server sees it; `None` when the server is on this machine.
///
/// # Errors
/// When the server's name does not resolve.
pub async fn address_seen_by(server: &str) -> anyhow::Result<Option<IpAddr>> {
    let uri: http::Uri = server.parse().with_context(|| format!("read the URL {server}"))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let peers = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(443))).await;
    let peers: Vec<SocketAddr> = peers.with_context(|| format!("resolve {host}"))?.collect();
    if peers.iter().any(|peer| peer.ip().is_loopback() || machine::addresses().contains(&peer.ip())) {
        return Ok(None);
    }
    Ok(peers.into_iter().find_map(machine::address_towards))
}
