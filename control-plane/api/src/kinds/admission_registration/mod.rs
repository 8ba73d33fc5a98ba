//! The kinds of `admissionregistration.k8s.io`: who is asked before something is stored.

mod binding;
mod policy;
mod rules;
mod webhook;

pub use rules::{check_match, check_match_conditions};

use super::builder::resource;
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

const GROUP: &str = "admissionregistration.k8s.io";

pub(super) fn descriptors() -> Vec<ResourceDescriptor> {
    vec![
        policy::mutating(),
        binding::mutating(),
        webhook::mutating(),
        policy::validating(),
        binding::validating(),
        webhook::validating(),
    ]
}

fn extension(kind: &str, plural: &str, strategy: impl Strategy) -> ResourceDescriptor {
    let mut descriptor = resource(GROUP, kind, plural, Scope::Cluster, strategy);
    descriptor.categories.push("api-extensions".into());
    descriptor
}
