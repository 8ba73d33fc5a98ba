//! `ServiceAccount`.

use serde_json::Value;

use super::builder::{Describe, resource};
use super::value::list;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy, Verb};
use crate::print::age;

struct ServiceAccount;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "ServiceAccount", "serviceaccounts", Scope::Namespaced, ServiceAccount).short("sa").subresource(
        "token",
        Some(("authentication.k8s.io", "TokenRequest")),
        &[Verb::Create],
    )
}

const COLUMNS: &[Column] = &[Column::text("Secrets", "How many secrets the account names."), Column::AGE];

impl Strategy for ServiceAccount {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![list(object, "/secrets").len().into(), age(object, context.now).into()]
    }
}
