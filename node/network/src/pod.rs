//! What a pod asks of the network and what it gets.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodRequest {
    pub uid: String,
    /// Set in the pod's own uts namespace; not used with `host_network`.
    pub hostname: String,
    /// Use the machine's network and uts namespaces.
    pub host_network: bool,
    /// Use the machine's ipc namespace (`hostIPC`).
    pub host_ipc: bool,
    /// Ports of the machine that lead to the pod. Ignored with `host_network`, where the pod binds them itself.
    pub host_ports: Vec<HostPort>,
    pub bandwidth: Bandwidth,
    /// The API's, which plugins are told.
    pub namespace: String,
    pub name: String,
    /// Addresses with prefix lengths that plugins are asked for.
    pub ips: Vec<String>,
    /// A hardware address that plugins are asked for.
    pub mac: Option<String>,
}

/// What a pod may send and receive, in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// To the pod.
    pub ingress: Option<u64>,
    pub egress: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// `None` (or unspecified) is every address of the machine.
    pub host_ip: Option<IpAddr>,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// Namespace paths stay valid until the pod is removed; `None` is the machine's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodNetwork {
    /// The primary one first. With the machine's network, the machine's address.
    pub addresses: Vec<IpAddr>,
    pub network_namespace: Option<PathBuf>,
    pub ipc_namespace: Option<PathBuf>,
    pub uts_namespace: Option<PathBuf>,
}
