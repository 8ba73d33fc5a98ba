//! The user-visible sentences of the README with the real kubectl, 1.31 or newer. Machines without one leave these out.

#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod agent;
mod aggregation;
mod certificates;
mod cni;
#[path = "../../plugins/host/tests/plugins/component.rs"]
mod component;
mod container;
mod crd;
mod debug;
mod demo;
mod dns;
mod dual_stack;
mod guests;
mod ingress;
mod joining;
mod kubewarden;
mod load_balancers;
mod loopback_ports;
mod network_faults;
mod network_policies;
mod node_use;
mod nodes;
mod objects;
mod own_client;
mod peers;
mod plugin_attacks;
mod plugin_versions;
mod plugins;
mod pod_network;
mod pods;
mod policy_audit;
mod policy_refusals;
mod rollouts;
mod scheduler_plugins;
mod scheduling;
mod service_doors;
mod service_traffic;
mod services;
mod signatures;
mod spdy;
mod streams;
mod wasm;
mod wasm_life;
mod workloads;
