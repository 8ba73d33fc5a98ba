//! Finding the server at the start of an agent.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use mizzen_agent::Registration;
use mizzen_api::node_annotations::POD_CIDR;
use mizzen_client::http::{HttpClient, HttpError};
use mizzen_client::{ApiRequest, Client, PatchKind};
use mizzen_network::Subnet;
use mizzen_reconcile::{Backoff, typed};
use serde_json::json;

use super::machine;

/// Between two looks whether the cluster has given the node its addresses, which takes it milliseconds.
const GIVEN: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
const LOOKS: u32 = 40;
const RETRY: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

/// Why something is not there.
pub enum WaitError {
    /// It may come.
    Later(String),
    /// Trying again would not help.
    Never(HttpError),
}

/// Tries until it works. While it does not, `say` is told so, once for each reason.
///
/// # Errors
/// When trying again would not help.
pub async fn wait<T>(
    retry: Backoff,
    attempt: impl AsyncFn() -> Result<T, WaitError>,
    mut say: impl FnMut(&str),
) -> Result<T, HttpError> {
    let (mut said, mut failures) = (String::new(), 0);
    loop {
        let why = match attempt().await {
            Ok(found) => return Ok(found),
            Err(WaitError::Later(why)) => why,
            Err(WaitError::Never(error)) => return Err(error),
        };
        if why != said {
            say(&why);
            said = why;
        }
        tokio::time::sleep(retry.delay(failures)).await;
        failures = failures.saturating_add(1);
    }
}

/// Returns when the server answers. While it does not, `say` is told so, once for each reason.
///
/// # Errors
/// When trying again would not help: it is another cluster's server, or it does not know the node.
pub async fn wait_for_server(client: &HttpClient, say: impl FnMut(&str)) -> Result<(), HttpError> {
    wait(RETRY, async || asked(client).await, say).await
}

/// Looks once whether the server answers; if not, why.
///
/// # Errors
/// As [`wait_for_server`].
pub async fn look_for_server(client: &HttpClient) -> Result<Option<String>, HttpError> {
    match asked(client).await {
        Ok(()) => Ok(None),
        Err(WaitError::Later(why)) => Ok(Some(why)),
        Err(WaitError::Never(error)) => Err(error),
    }
}

async fn asked(client: &HttpClient) -> Result<(), WaitError> {
    client.ready().await.map_err(|error| match error {
        HttpError::Unreachable { .. } | HttpError::NotReady { .. } => WaitError::Later(error.to_string()),
        error => WaitError::Never(error),
    })
}

/// The addresses that the cluster gives the node's pods, a block for each family that they have: those it has been given before,
/// or else `wished`, if no other node has them, and what the cluster adds. Creates the Node if need be.
///
/// # Errors
/// When the server refuses, or has no addresses left.
pub async fn pod_cidrs(
    client: &dyn Client,
    node: &str,
    wished: Subnet,
    registration: &Registration,
) -> anyhow::Result<Vec<Subnet>> {
    let mut asked = false;
    for looks in 0..LOOKS {
        let present = typed::get::<Node>(client, "", node).await?;
        let given = present.as_ref().and_then(|node| node.spec.as_ref()?.pod_cidrs.as_deref()).unwrap_or_default();
        if !given.is_empty() {
            let parsed = given.iter().map(|range| range.parse()).collect::<Result<_, _>>();
            return parsed.with_context(|| format!("the addresses of node {node}"));
        }
        let annotations = json!({"annotations": {POD_CIDR: wished}});
        match present {
            None => {
                let Registration { labels, taints } = registration;
                let object = json!({"apiVersion": "v1", "kind": "Node", "spec": {"taints": taints},
                    "metadata": {"name": node, "labels": labels, "annotations": annotations["annotations"]}});
                let created = client.write(ApiRequest::create(&typed::gvr::<Node>(), "", object)).await;
                created.map_err(|status| mizzen_reconcile::Error::api(format!("create nodes {node}"), status))?;
            }
            Some(_) if !asked => {
                let patch = json!({"metadata": annotations});
                typed::patch::<Node>(client, "", node, "", PatchKind::Merge, patch).await?;
            }
            Some(_) => {}
        }
        asked = true;
        tokio::time::sleep(GIVEN.delay(looks)).await;
    }
    anyhow::bail!("the server has given node {node} no addresses for its pods (events of the node may say why)")
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
