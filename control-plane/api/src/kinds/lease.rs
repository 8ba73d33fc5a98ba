//! `Lease`.

use super::builder::resource;
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct Lease;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("coordination.k8s.io", "Lease", "leases", Scope::Namespaced, Lease)
}

impl Strategy for Lease {}
