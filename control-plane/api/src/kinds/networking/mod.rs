//! The kinds of `networking.k8s.io`.

mod ingress;
mod ingress_class;
mod ip_address;
mod network_policy;
mod service_cidr;

use crate::descriptor::ResourceDescriptor;

const GROUP: &str = "networking.k8s.io";

pub(super) fn descriptors() -> Vec<ResourceDescriptor> {
    vec![
        ingress_class::descriptor(),
        ingress::descriptor(),
        ip_address::descriptor(),
        network_policy::descriptor(),
        service_cidr::descriptor(),
    ]
}
