//! `EndpointSlice`.

use super::builder::resource;
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct EndpointSlice;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("discovery.k8s.io", "EndpointSlice", "endpointslices", Scope::Namespaced, EndpointSlice)
}

impl Strategy for EndpointSlice {}
