//! `Namespace`.

use super::builder::{Describe, resource};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct Namespace;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Namespace", "namespaces", Scope::Cluster, Namespace).short("ns").status()
}

impl Strategy for Namespace {}
