//! `Secret`.

use super::builder::resource;
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};

struct Secret;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Secret", "secrets", Scope::Namespaced, Secret)
}

impl Strategy for Secret {}
