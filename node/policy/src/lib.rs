//! NetworkPolicies on one node: who may talk to its pods, and to whom they may, as rules of nftables.
//!
//! A policy is compiled once into a chain ([`compile`]); whom it speaks of are named sets, which follow pods one element at a
//! time ([`world::World`]); one transaction applies what has changed (docs/decisions/0047).

pub mod apply;
pub mod blocks;
pub mod compile;
mod facts;
pub mod frame;
pub mod group;
mod keeper;
pub mod key;
pub mod listing;
pub mod nft;
pub mod pod;
pub mod policies;
pub mod text;
pub mod view;
pub mod world;

pub use policies::{NotInPlace, Policies, PoliciesConfig};

#[cfg(test)]
mod apply_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod packet_tests;
#[cfg(test)]
mod policies_tests;
#[cfg(test)]
mod reference_tests;
