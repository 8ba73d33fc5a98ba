//! The cluster's names, by each node for its own pods: the zone of the Kubernetes DNS specification 1.1 from what a watch of
//! Services and EndpointSlices says, and everything else from the node's own name servers.
//!
//! Names of the cluster are answered where the datagram is read, from memory: no server outside, however slow, holds them
//! up. What is asked outside waits in a bounded number of tasks, one question for all who ask the same.

mod cache;
mod forward;
mod message;
mod places;
mod records;
pub mod resolv_conf;
mod responder;
mod server;
mod sockets;
mod source;
#[cfg(test)]
mod testing;
mod upstream;
mod views;
mod zone;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

pub use server::serve;
pub use source::Source;

/// How names are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster's zone, such as `cluster.local`.
    pub cluster_domain: String,
    /// The resolv.conf(5) whose servers are asked for everything else, unless `upstreams` names them.
    pub resolv_conf: PathBuf,
    pub upstreams: Vec<SocketAddr>,
    /// Who is asked for the names of a domain and below.
    pub stub_domains: BTreeMap<String, Vec<SocketAddr>>,
}

/// The port of name servers.
pub const PORT: u16 = 53;

#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("{name:?} is no domain name: {why}")]
    Domain { name: String, why: String },
    #[error("listen for names on {address}: {source}")]
    Listen {
        address: IpAddr,
        #[source]
        source: std::io::Error,
    },
}
