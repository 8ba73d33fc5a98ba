//! `ReplicaSet`.

use super::builder::{Describe, resource};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct ReplicaSet;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("apps", "ReplicaSet", "replicasets", Scope::Namespaced, ReplicaSet).short("rs").in_all().status().scale()
}

impl Strategy for ReplicaSet {}
