//! Traffic of Services on one node: what Services and EndpointSlices say becomes elements of nftables maps.
//!
//! A pure compiler ([`compile`]) makes the elements of one service, a model of all ([`model::Model`]) tells which of them
//! changed, and one transaction applies that. Rules are shared by all services and know none: one endpoint's change touches
//! its service's elements and nothing else (docs/decisions/0036).

pub mod apply;
pub mod cache;
pub mod chains;
pub mod compile;
pub mod conntrack;
pub mod endpoints;
pub mod forget;
pub mod frame;
pub mod listing;
pub mod model;
pub mod nft;
pub mod proxy;
pub mod routes;
pub mod seats;
pub mod service;
pub mod slice;
pub mod text;

pub use cache::ServiceCaches;
pub use proxy::{Proxy, ProxyConfig};

#[cfg(test)]
mod apply_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod proxy_tests;
