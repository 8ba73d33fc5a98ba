//! The Node object: registered, kept fresh, and leased.

pub(crate) mod announce;
pub(crate) mod capacity;
pub(crate) mod health_ports;
pub(crate) mod image_gc;
pub(crate) mod lease;
pub(crate) mod local_volumes;
pub(crate) mod peers;
pub(crate) mod plugins;
pub(crate) mod policies;
pub(crate) mod ports;
pub(crate) mod pressure;
pub(crate) mod register;
pub(crate) mod room;
pub(crate) mod rules;
pub(crate) mod services;
pub(crate) mod status;

use k8s_openapi::api::core::v1::ObjectReference;

/// What events of the node are about.
pub(crate) fn about(node: &str) -> ObjectReference {
    let name = node.to_owned();
    // The kubelet has the name for the uid, by which kubectl finds the events.
    ObjectReference { kind: Some("Node".into()), uid: Some(name.clone()), name: Some(name), ..ObjectReference::default() }
}
