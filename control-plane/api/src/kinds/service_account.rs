//! `ServiceAccount`.

use super::builder::{Describe, resource};
use crate::descriptor::{ResourceDescriptor, Scope, Strategy, Verb};

struct ServiceAccount;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "ServiceAccount", "serviceaccounts", Scope::Namespaced, ServiceAccount).short("sa").subresource(
        "token",
        Some(("authentication.k8s.io", "TokenRequest")),
        &[Verb::Create],
    )
}

impl Strategy for ServiceAccount {}
