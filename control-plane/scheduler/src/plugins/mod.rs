//! The native plugins, one file each.

mod allocation;
mod args;
mod balanced_allocation;
mod default_preemption;
mod host_ports;
mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_unschedulable;
mod resource_fit;
mod taint_toleration;
mod topology_spread;
mod volume_binding;

use std::sync::Arc;

pub(crate) use args::told;
pub use node_affinity::NodeTerms;

use crate::framework::Plugin;

/// All of them, the cheapest filters first.
pub fn all() -> Vec<Arc<dyn Plugin>> {
    vec![
        Arc::new(node_unschedulable::NodeUnschedulable),
        Arc::new(node_name::NodeName),
        Arc::new(taint_toleration::TaintToleration),
        Arc::new(node_affinity::NodeAffinity::default()),
        Arc::new(host_ports::NodePorts),
        Arc::new(resource_fit::NodeResourcesFit::default()),
        Arc::new(volume_binding::VolumeBinding),
        Arc::new(topology_spread::PodTopologySpread::default()),
        Arc::new(inter_pod_affinity::InterPodAffinity::default()),
        Arc::new(default_preemption::DefaultPreemption::default()),
        Arc::new(balanced_allocation::BalancedAllocation::default()),
        Arc::new(image_locality::ImageLocality),
    ]
}
