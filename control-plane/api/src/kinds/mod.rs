//! One file per kind: its facts and what it does that others do not.

mod access_review;
mod builder;
mod config_map;
mod deployment;
mod endpoint_slice;
mod event;
mod lease;
mod namespace;
mod node;
mod pod;
mod pod_template;
mod rbac;
mod replica_set;
mod secret;
mod service;
mod service_account;
mod token_review;
mod value;
mod workload;

use crate::descriptor::ResourceDescriptor;

/// Adding a kind is one file, and one line here.
pub(crate) fn builtin() -> Vec<ResourceDescriptor> {
    vec![
        config_map::descriptor(),
        event::descriptor(),
        namespace::descriptor(),
        node::descriptor(),
        pod::descriptor(),
        secret::descriptor(),
        service_account::descriptor(),
        service::descriptor(),
        deployment::descriptor(),
        replica_set::descriptor(),
        token_review::self_subject_review(),
        token_review::descriptor(),
        access_review::local_subject_access_review(),
        access_review::self_subject_access_review(),
        access_review::self_subject_rules_review(),
        access_review::subject_access_review(),
        lease::descriptor(),
        endpoint_slice::descriptor(),
        rbac::cluster_role_binding(),
        rbac::cluster_role(),
        rbac::role_binding(),
        rbac::role(),
    ]
}
