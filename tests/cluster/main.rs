//! The real executables with every client that needs no kubectl: mizzen's own, Python's, `kube`, curl.

#![allow(clippy::unwrap_used, reason = "tests")]

mod agent;
mod aggregation;
mod bad_images;
mod bad_objects;
mod conformance;
mod demo;
mod helm;
mod kube_rs;
mod leftovers;
mod lifecycle;
mod nginx;
mod node;
mod node_disk;
mod own_client;
mod plugin_command;
mod pod_hooks;
mod pod_images;
mod pod_life;
mod pod_processes;
mod port_forward;
mod private_registry;
mod python;
mod resize;
mod runtime_class;
mod volume_claims;
