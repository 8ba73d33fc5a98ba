//! What can go wrong, in words for a pod's events.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::{Protocol, Subnet};

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("network configuration: {message}")]
    Config { message: String },
    /// Every address of the node's range is given to a pod.
    #[error("no free pod address in {subnet}: all {capacity} are in use")]
    AddressesExhausted { subnet: Subnet, capacity: usize },
    #[error("no free /24 for pods in 10.64.0.0/11: every one overlaps an address or route of this machine")]
    NoFreeSubnet,
    #[error("pods cannot have IPv6 addresses: this machine has no IPv6: {source}")]
    NoIpv6 {
        #[source]
        source: std::io::Error,
    },
    #[error("host port {port}/{protocol} is already used by pod {owner}")]
    HostPortConflict { port: u16, protocol: Protocol, owner: String },
    #[error("{operation} {link}: {source}")]
    Link {
        operation: &'static str,
        link: String,
        #[source]
        source: rtnetlink::Error,
    },
    #[error("address {address} of pod {uid}: {why}")]
    Address { uid: String, address: IpAddr, why: String },
    #[error("nftables table {table}: {message}")]
    Nftables { table: String, message: String },
    #[error("{operation} namespace {}: {source}", path.display())]
    Namespace {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{operation} {}: {source}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("state file {}: {source}", path.display())]
    State {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("pod uid {uid:?} cannot name a file: use letters, digits and dashes, at most 63")]
    PodUid { uid: String },
    #[error("pod {uid} has no network on this node")]
    NoNetwork { uid: String },
    /// In the words of container engines.
    #[error("failed to connect to localhost:{port} inside namespace {namespace:?}, {why}")]
    Dial { port: u16, namespace: String, why: String },
    /// In the kubelet's words.
    #[error(
        "network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
         message:Network plugin returns error: {problem}"
    )]
    PluginsNotReady { problem: String },
    #[error("failed to set up network for sandbox {uid:?}: {source}")]
    Attach {
        uid: String,
        #[source]
        source: mizzen_cni::CniError,
    },
    #[error("failed to destroy network for sandbox {uid:?}: {source}")]
    Detach {
        uid: String,
        #[source]
        source: mizzen_cni::CniError,
    },
    #[error("take away what no pod has any more: {source}")]
    Collect {
        #[source]
        source: mizzen_cni::CniError,
    },
    #[error("limit the bandwidth of {interface}: {why}")]
    Bandwidth { interface: String, why: String },
    #[error("ask other nodes whether they answer: {source}")]
    Probe {
        #[source]
        source: std::io::Error,
    },
    #[error("the network's worker thread ended before it answered")]
    Worker,
}
