//! `Service`.

use super::builder::{Describe, resource};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct Service;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Service", "services", Scope::Namespaced, Service).short("svc").in_all().status()
}

impl Strategy for Service {}
