//! Fixtures that run the real executables: a cluster and its clients, a registry, images, the demo. Everything a fixture
//! starts or makes is gone when it is dropped, also after a failed assertion; what a killed test leaves, the next one removes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a fixture that fails fails the test")]

pub mod agent;
pub mod authority;
pub mod client;
pub mod cluster;
pub mod command;
mod config;
pub mod demo;
pub mod door;
pub mod executables;
pub mod far;
pub mod folder;
pub mod hollow;
pub mod hostile;
pub mod images;
pub mod kubectl;
pub mod kubewarden;
pub mod lan;
pub mod leftovers;
pub mod names;
pub mod nginx;
pub mod ports;
pub mod registry;
pub mod sample_server;
pub mod wait;

pub use agent::Agent;
pub use cluster::Cluster;
pub use door::Door;
pub use far::FarMachine;
pub use kubectl::Kubectl;
pub use lan::{Lan, Machine};
pub use registry::Registry;
pub use wait::{eventually, eventually_async};
