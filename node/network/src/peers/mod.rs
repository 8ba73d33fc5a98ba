//! Ways to the pods of other nodes: a plain route where the other node is on a link with this one, VXLAN (RFC 7348) elsewhere.
//!
//! What is there is read from the kernel, [`decide`] says what has to change, and [`kernel`] does it. All of it is known again
//! by its names after a restart: routes by their protocol and source, the tunnel by its link's name.

mod decide;
mod echo;
mod kernel;
mod probe;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use nix::net::if_::if_indextoname;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::network::Network;
use crate::{Family, NetworkConfig, NetworkError, Subnet, firewall, localnet, nft, state};
use decide::{Ways, Wishes};
use echo::Echo;
pub(crate) use kernel::{mtu_at, neighbour};
use probe::Probes;

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

impl Told {
    /// Which nodes of these are asked whether they answer, each at its block's gateway.
    fn asked(&self, up: &BTreeSet<&str>) -> BTreeMap<IpAddr, String> {
        let leads_out = |block| self.ways.as_ref().is_some_and(|ways| ways.leads_out(block));
        let peers = self.peers.iter().filter(|peer| up.contains(peer.node.as_str()) && leads_out(peer.block));
        peers.map(|peer| (peer.block.gateway(), peer.node.clone())).collect()
    }
}

/// Of who answers.
#[derive(Default)]
pub(crate) struct Probing {
    probes: Probes,
    echoes: BTreeMap<Family, Echo>,
}

impl Probing {
    fn turn(&mut self, own: u32, now: Instant) -> std::io::Result<()> {
        for echo in self.echoes.values() {
            echo.answers()?.into_iter().for_each(|by| self.probes.answered(by));
        }
        for address in self.probes.due(now) {
            let family = Family::of(address);
            let echo = match self.echoes.entry(family) {
                Entry::Occupied(echo) => echo.into_mut(),
                Entry::Vacant(place) => place.insert(Echo::open(family, own)?),
            };
            // One that does not go out is not answered.
            if let Err(error) = echo.ask(address) {
                tracing::debug!(%address, %error, "cannot ask whether a node answers");
            }
        }
        Ok(())
    }
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
        self.let_loopback_out(&ways).await;
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

    /// What services lead to other nodes may come from loopback. Without it, all else is as it should be.
    async fn let_loopback_out(&self, ways: &Ways) {
        // A link that has just gone has no name.
        let names = ways.links().into_iter().filter_map(|link| if_indextoname(link).ok()?.into_string().ok());
        let links = names.chain(ways.is_tunnelled().then(|| self.config.tunnel())).collect();
        if let Err(error) = localnet::keep(&self.config, &links).await {
            tracing::debug!(%error, "services on 127.0.0.1 lead to no pods of other nodes");
        }
    }

    /// Asks some of the other nodes whether they answer by the ways to their pods, with an echo request each, and says who has not
    /// for a minute, and at which address; to be called every few seconds. `up` are the nodes that should: others are not asked.
    ///
    /// # Errors
    /// When the machine gives no socket for it.
    pub async fn probe_peers(&self, up: &BTreeSet<&str>, now: Instant) -> Result<Vec<(String, IpAddr)>, NetworkError> {
        let asked = self.peers.lock().await.asked(up);
        let own = u32::from_str_radix(&self.config.cluster, 16).unwrap_or(0);
        let mut probing = self.probing.lock().await;
        probing.probes.watch(&asked);
        probing.turn(own, now).map_err(|source| NetworkError::Probe { source })?;
        Ok(probing.probes.silent(now))
    }

    /// The nodes that were told last, by an earlier process too.
    pub(crate) fn noted_peers(config: &NetworkConfig) -> Result<Vec<Peer>, NetworkError> {
        Ok(state::load::<Noted>(&config.peers_file())?.map(|noted| noted.peers).unwrap_or_default())
    }
}
