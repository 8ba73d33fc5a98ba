//! The network of one node: an address and namespaces for each pod, on a bridge of the cluster's own.
//!
//! Everything is named after the cluster (bridge `mz<cluster>`, nftables table `mizzen_<cluster>`), so that clusters
//! live side by side and one is taken away without asking anybody what it made.

mod addresses;
mod announce;
mod bandwidth;
mod config;
mod dial;
pub mod elements;
mod error;
mod family;
mod firewall;
mod hostports;
mod keep;
mod ledger;
mod links;
mod localnet;
mod machine;
mod machines;
mod namespace;
pub mod netlink;
mod network;
pub mod nft;
mod open;
mod peers;
mod plugins;
mod pod;
mod services;
mod shares;
mod state;
mod subnet;
mod teardown;
mod wasm;

pub use announce::Announced;
pub use config::{NetworkConfig, PeersConfig, PluginDirs, ServiceRange};
pub use error::NetworkError;
pub use family::Family;
pub use machines::{Machine, Machines};
pub use network::Network;
pub use peers::{Kept, Peer, PeerBackend};
pub use pod::{Bandwidth, HostPort, PodNetwork, PodRequest, Protocol};
pub use subnet::Subnet;
