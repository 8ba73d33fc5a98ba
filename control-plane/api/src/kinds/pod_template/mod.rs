//! The pod spec, which pods have and workloads carry as a template.

mod containers;
mod defaults;
mod object;
mod os;
mod probes;
mod resources;
mod restarts;
mod scheduling;
mod spec;
mod template;
mod volumes;

pub(super) use defaults::{default_pod, default_template};
pub(super) use object::descriptor;
pub(super) use scheduling::{check_node_selector, check_taints, check_tolerations};
pub(super) use spec::{SpecContext, check_spec};
pub(super) use template::{Workload, check_pod_template, check_template};
