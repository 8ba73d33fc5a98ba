//! One file per kind: its facts and what it does that others do not.

mod access_review;
mod admission_registration;
mod api_service;
mod autoscaler;
mod binding;
mod builder;
mod certificate_signing_request;
mod component_status;
mod config_map;
mod controller_revision;
mod cron_job;
mod daemon_set;
mod deployment;
mod dra;
mod endpoint_slice;
mod endpoints;
mod event;
mod event_form;
mod flowcontrol;
mod job;
mod lease;
mod limit_range;
mod namespace;
mod networking;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
mod pod;
mod pod_disruption_budget;
mod pod_template;
mod priority_class;
mod rbac;
mod replica_set;
mod replication_controller;
mod resource_quota;
mod runtime_class;
mod secret;
mod service;
mod service_account;
mod stateful_set;
mod storage;
mod token_review;
mod value;
mod workload;

pub use admission_registration::{check_match, check_match_conditions};

use crate::descriptor::ResourceDescriptor;

/// Adding a kind is one file, and one line here.
pub(crate) fn builtin() -> Vec<ResourceDescriptor> {
    let mut all = vec![
        // Its group comes first in discovery.
        api_service::descriptor(),
        binding::descriptor(),
        component_status::descriptor(),
        config_map::descriptor(),
        endpoints::descriptor(),
        event::descriptor(),
        event::in_its_own_group(),
        limit_range::descriptor(),
        namespace::descriptor(),
        node::descriptor(),
        persistent_volume_claim::descriptor(),
        persistent_volume::descriptor(),
        pod::descriptor(),
        pod_template::descriptor(),
        replication_controller::descriptor(),
        resource_quota::descriptor(),
        secret::descriptor(),
        service_account::descriptor(),
        service::descriptor(),
        controller_revision::descriptor(),
        daemon_set::descriptor(),
        deployment::descriptor(),
        replica_set::descriptor(),
        stateful_set::descriptor(),
        token_review::self_subject_review(),
        token_review::descriptor(),
        access_review::local_subject_access_review(),
        access_review::self_subject_access_review(),
        access_review::self_subject_rules_review(),
        access_review::subject_access_review(),
        autoscaler::descriptor(),
        cron_job::descriptor(),
        job::descriptor(),
        lease::descriptor(),
        endpoint_slice::descriptor(),
        runtime_class::descriptor(),
        pod_disruption_budget::descriptor(),
        rbac::cluster_role_binding(),
        rbac::cluster_role(),
        rbac::role_binding(),
        rbac::role(),
        priority_class::descriptor(),
    ];
    all.push(certificate_signing_request::descriptor());
    all.extend(admission_registration::descriptors());
    all.extend(dra::descriptors());
    all.extend(flowcontrol::descriptors());
    all.extend(networking::descriptors());
    all.extend(storage::descriptors());
    all
}
