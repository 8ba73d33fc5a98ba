//! The kinds of `flowcontrol.apiserver.k8s.io`: which requests wait for which.

mod priority_level;
mod rules;
mod schema;

use crate::descriptor::ResourceDescriptor;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

pub(super) fn descriptors() -> Vec<ResourceDescriptor> {
    vec![schema::descriptor(), priority_level::descriptor()]
}
