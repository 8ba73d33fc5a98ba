//! `Binding` as a resource of its own: the oldest way to say where a pod runs, before `pods/binding`.

use super::builder::{Describe, resource};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct Binding;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Binding", "bindings", Scope::Namespaced, Binding).answers_only()
}

impl Strategy for Binding {}
