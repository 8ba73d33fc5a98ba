//! `Lease`.

use serde_json::Value;

use super::builder::resource;
use super::value::{int, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{invalid, non_negative};

struct Lease;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("coordination.k8s.io", "Lease", "leases", Scope::Namespaced, Lease)
}

const COLUMNS: &[Column] = &[Column::text("Holder", "Who holds the lease."), Column::AGE];

impl Strategy for Lease {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        if let Some(seconds) = int(object, "/spec/leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
            causes.push(invalid("spec.leaseDurationSeconds", &seconds.into(), "must be greater than 0"));
        }
        causes.extend(non_negative("spec.leaseTransitions", object.pointer("/spec/leaseTransitions")));
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![text(object, "/spec/holderIdentity").into(), age(object, context.now).into()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_lasts_some_time() {
        let causes = Lease.validate(&json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}));
        assert_eq!(causes[0].message, "Invalid value: 0: must be greater than 0");
        assert_eq!(causes[1].field, "spec.leaseTransitions");
    }
}
