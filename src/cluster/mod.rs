//! One cluster on this machine: its data folder, its keys, its control plane and its node.

pub mod compaction;
pub mod control_plane;
pub mod data_dir;
pub mod end;
pub mod executables;
pub mod further_nodes;
pub mod join;
pub mod joining;
pub mod kubeconfig;
mod loopback_names;
mod loopback_proxy;
pub mod machine;
pub mod namespaces;
pub mod node;
pub mod node_credentials;
pub mod outside;
pub mod pki;
pub mod plugins;
pub mod scheduler_plugins;
pub mod scheduling_reviews;
pub mod start_code;
mod take_over;
pub mod tls;
pub mod work_queues;
