//! Fixtures that run the real executables: a cluster, a registry, images, kubectl. Everything a fixture starts or makes is
//! gone when it is dropped, also after a failed assertion.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a fixture that fails fails the test")]

pub mod cluster;
pub mod command;
pub mod executables;
pub mod images;
pub mod registry;
pub mod wait;

pub use cluster::Cluster;
pub use registry::Registry;
pub use wait::eventually;
