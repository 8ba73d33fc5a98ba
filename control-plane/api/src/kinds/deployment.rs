//! `Deployment`.

use super::builder::{Describe, resource};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct Deployment;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("apps", "Deployment", "deployments", Scope::Namespaced, Deployment).short("deploy").in_all().status().scale()
}

impl Strategy for Deployment {}
