//! Ways to the pods of other nodes: a plain route where the other node is on a link with this one, VXLAN (RFC 7348) elsewhere.
//!
//! What is there is read from the kernel, [`decide`] says what has to change, and [`kernel`] does it. All of it is known again
//! by its names after a restart: routes by their protocol and source, the tunnel by its link's name.

mod decide;
mod kernel;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::{NetworkConfig, NetworkError, Subnet, firewall, nft, state};
use decide::{Ways, Wishes};
pub(crate) use kernel::{mtu_at, neighbour};

/// Of VXLAN: outer IPv4, UDP and VXLAN headers, and the inner Ethernet one.
pub(crate) const TUNNEL_OVERHEAD: u32 = 50;

/// How packets come to the pods of other nodes; the same on all nodes of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerBackend {
    /// Plain routes where nodes share a link, VXLAN otherwise.
    #[default]
    Auto,
    /// Plain routes only: for nodes that share a link, or a network that knows the ways itself.
    Routes,
    /// VXLAN to every node: where the link takes no packets but those of its machines' own addresses.
    Vxlan,
}

/// A block of another node of the cluster, which has one for each family of its pods' addresses: the primary one first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    pub node: String,
    /// By which other machines reach it: of the block's family, if it has one.
    pub address: IpAddr,
    /// Where its pods have their addresses.
    pub block: Subnet,
}

/// What [`Network::keep_peers`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How much of what had been made before somebody else had taken away.
    pub restored: usize,
    /// Nodes whose pods are not reached, and why.
    pub left_out: Vec<(String, &'static str)>,
}

/// What was told last.
#[derive(Default)]
pub(crate) struct Told {
    peers: Vec<Peer>,
    ways: Option<Ways>,
    /// The ranges that the machine's firewall lets pass, and what the cluster's table does not masquerade.
    pub(crate) allowed: Option<(BTreeSet<Subnet>, BTreeSet<IpAddr>)>,
}

/// Of the last run: the ways are there again while the server is away.
#[derive(Serialize, Deserialize)]
struct Noted {
    peers: Vec<Peer>,
}

impl Network {
    /// Makes the ways to the pods of these nodes, which are all others of the cluster, and takes away those to nodes that are
    /// no more; repeatable.
    ///
    /// # Errors
    /// When the kernel or nftables refuse. Call again.
    pub async fn keep_peers(&self, peers: &[Peer]) -> Result<Kept, NetworkError> {
        let mut told = self.peers.lock().await;
        let own: Vec<_> = self.pod_cidrs().collect();
        let wishes = Wishes { own: &own, backend: self.config.peers.backend, peers };
        let mut seen = kernel::look(&self.links, &self.config, &own).await?;
        let mut ways = decide::ways(&wishes, &seen);
        let is_tunnelled = ways.is_tunnelled() || wishes.backend == PeerBackend::Vxlan;
        self.tunnelled.store(is_tunnelled, Ordering::Relaxed);
        if ways.is_tunnelled() {
            let tunnel = kernel::Tunnel::of(&self.config, self.subnet, ways.tunnel_mtu());
            if !seen.tunnel.as_ref().is_some_and(|is| tunnel.fits(is)) {
                kernel::make_tunnel(&self.links, &tunnel).await?;
                seen = kernel::look(&self.links, &self.config, &own).await?;
                ways = decide::ways(&wishes, &seen);
            }
        }
        let changes = decide::changes(&ways, &seen);
        let restored = if told.ways.as_ref() == Some(&ways) { changes.len() } else { 0 };
        for change in &changes {
            kernel::act(&self.links, &self.config, &own, change).await?;
        }
        let plain = (ways.blocks(), ways.nodes().clone());
        if told.allowed.as_ref() != Some(&plain) {
            let table = self.config.table();
            let text: String = own.iter().map(|range| nft::peers(range.family(), &table, &plain.0, &plain.1)).collect();
            nft::apply(&table, &text).await?;
            firewall::allow(&self.config, self.pod_cidrs(), &plain.0).await?;
            told.allowed = Some(plain);
        }
        if told.peers != peers {
            state::save(&self.config.peers_file(), &Noted { peers: peers.to_vec() })?;
            told.peers = peers.to_vec();
        }
        let left_out = ways.left_out().to_vec();
        told.ways = Some(ways);
        Ok(Kept { restored, left_out })
    }

    /// The nodes that were told last, by an earlier process too.
    pub(crate) fn noted_peers(config: &NetworkConfig) -> Result<Vec<Peer>, NetworkError> {
        Ok(state::load::<Noted>(&config.peers_file())?.map(|noted| noted.peers).unwrap_or_default())
    }
}
