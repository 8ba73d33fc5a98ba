//! What a network is opened with, and the names that follow from it.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::family::number;
use crate::{NetworkError, PeerBackend, Subnet};

/// Which cluster's network this is and where it keeps its state.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Eight lower-case hexadecimal digits; every name on the machine derives from it.
    pub cluster: String,
    /// Namespace pins and state files. It may survive a reboot while the namespaces do not.
    pub run_dir: PathBuf,
    /// `None` picks a free /24 in 10.64.0.0/11 once and remembers it.
    pub pod_cidr: Option<Subnet>,
    /// Where pods have a second address, of IPv6: at least a /112. `None`: nowhere, unless an earlier process was told.
    pub second_pod_cidr: Option<Subnet>,
    /// The address the node is known by; `None` is the bridge's.
    pub node_address: Option<IpAddr>,
    pub services: ServiceRange,
    pub peers: PeersConfig,
    pub cni: PluginDirs,
}

/// Where CNI plugins and their configuration are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginDirs {
    /// `None` never uses any.
    pub conf: Option<PathBuf>,
    /// Searched in this order.
    pub bin: Vec<PathBuf>,
}

/// How the pods of the cluster's other nodes are reached.
#[derive(Clone, Copy, Debug)]
pub struct PeersConfig {
    pub backend: PeerBackend,
    /// By which VXLAN of this cluster is told from another's on the same wire: 24 bits, the same on all nodes.
    pub vni: u32,
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self { backend: PeerBackend::Auto, vni: 77 }
    }
}

/// Where services have their addresses, which the node's own programs reach by a route to the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceRange {
    /// The node is told later ([`crate::Network::keep_service_routes`]).
    Unknown,
    Fixed(Subnet),
    /// One that nobody else on this machine uses: 10.96.0.0/16, if it may be.
    Free,
}

impl NetworkConfig {
    /// # Errors
    /// [`NetworkError::Config`] when the cluster id is not eight lower-case hexadecimal digits.
    pub(crate) fn check(&self) -> Result<(), NetworkError> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if self.cluster.len() != 8 || !self.cluster.bytes().all(hex) {
            return Err(NetworkError::Config {
                message: format!("cluster id {:?} is not eight lower-case hexadecimal digits", self.cluster),
            });
        }
        Ok(())
    }

    /// The bridge that the pods are on.
    pub fn bridge(&self) -> String {
        format!("mz{}", self.cluster)
    }

    /// The nftables table, of each family that pods have (`ip`, `ip6`).
    pub fn table(&self) -> String {
        format!("mizzen_{}", self.cluster)
    }

    /// The nftables table of services, of each family: one of its own, so that making the other anew leaves it as it is.
    pub fn services_table(&self) -> String {
        format!("{}_services", self.table())
    }

    /// The nftables table of network policies, of each family, on the machine and in the namespace that Wasm pods share.
    pub fn policies_table(&self) -> String {
        format!("{}_policies", self.table())
    }

    /// Of the interface by which all Wasm pods reach the bridge: locally administered, the cluster's own.
    pub fn wasm_mac(&self) -> [u8; 6] {
        let [a, b, c, d] = u32::from_str_radix(&self.cluster, 16).unwrap_or(0).to_be_bytes();
        [0x0a, 0x59, a, b, c, d]
    }

    /// The name of the namespace that the cluster's Wasm pods share.
    pub fn wasm_namespace(&self) -> String {
        format!("mz{}-wasm", self.cluster)
    }

    /// The link that leads to nodes which are on no link with this one.
    pub fn tunnel(&self) -> String {
        format!("x{}", self.cluster)
    }

    /// The link of the machines that are made to try out several nodes.
    pub fn machines_link(&self) -> String {
        format!("l{}", self.cluster)
    }

    pub(crate) fn machines_table(&self) -> String {
        format!("{}_machines", self.table())
    }

    pub(crate) fn machines_dir(&self) -> PathBuf {
        self.run_dir.join("machines")
    }

    pub(crate) fn machines_file(&self) -> PathBuf {
        self.run_dir.join("machines.json")
    }

    /// What is remembered of attachments by plugins.
    pub(crate) fn cni_dir(&self) -> PathBuf {
        self.run_dir.join("cni")
    }

    pub(crate) fn cni_file(&self) -> PathBuf {
        self.cni_dir().join("dirs.json")
    }

    pub(crate) fn peers_file(&self) -> PathBuf {
        self.run_dir.join("peers.json")
    }

    /// Which links were changed for packets from loopback.
    pub(crate) fn localnet_file(&self) -> PathBuf {
        self.run_dir.join("localnet.json")
    }

    pub(crate) fn veth_prefix(&self) -> String {
        format!("v{}", self.cluster)
    }

    /// The host's end of a pod's pair: 15 characters, the longest a link's name may be. The low 24 bits of an address are
    /// unique in any range of at least 8 prefix bits.
    pub(crate) fn veth(&self, address: IpAddr) -> String {
        format!("{}{:06x}", self.veth_prefix(), number(address) & 0x00ff_ffff)
    }

    pub(crate) fn wasm_veth(&self) -> String {
        format!("{}w", self.veth_prefix())
    }

    /// Where the namespace that Wasm pods share is found, once there was one. Pod uids cannot have an underscore, so this is
    /// nobody's.
    pub fn wasm_pin(&self) -> PathBuf {
        self.pins_dir().join(format!("_{}", self.wasm_namespace())).join("net")
    }

    pub(crate) fn pod_file(&self, uid: &str) -> PathBuf {
        self.pods_dir().join(format!("{uid}.json"))
    }

    pub(crate) fn pin_dir(&self, uid: &str) -> PathBuf {
        self.pins_dir().join(uid)
    }

    /// Which ranges services had, for a node that has yet to hear of it again.
    pub(crate) fn service_ranges_file(&self) -> PathBuf {
        self.run_dir.join("service-ranges.json")
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.run_dir.join("network.json")
    }

    pub(crate) fn pods_dir(&self) -> PathBuf {
        self.run_dir.join("pods")
    }

    pub(crate) fn pins_dir(&self) -> PathBuf {
        self.run_dir.join("ns")
    }
}
