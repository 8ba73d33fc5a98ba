//! `ConfigMap`.

use super::builder::{Describe, resource};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct ConfigMap;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "ConfigMap", "configmaps", Scope::Namespaced, ConfigMap).short("cm")
}

impl Strategy for ConfigMap {}
