//! `RuntimeClass`.

use serde_json::Value;

use super::builder::resource;
use super::pod_template::check_tolerations;
use super::value::{entries, list, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, check_quantity, complaints, dns1123_label, immutable, validate_labels};

struct RuntimeClass;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("node.k8s.io", "RuntimeClass", "runtimeclasses", Scope::Cluster, RuntimeClass)
}

const COLUMNS: &[Column] = &[Column::text("Handler", "What runs the pods of the class."), Column::AGE];

impl Strategy for RuntimeClass {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let handler = text(object, "/handler");
        let mut causes: Vec<Cause> = complaints("handler", handler, dns1123_label(handler)).collect();
        let overhead = Path::root("overhead.podFixed");
        for (name, amount) in entries(object, "/overhead/podFixed") {
            check_quantity(amount, &overhead.key(name), &mut causes);
        }
        causes.extend(validate_labels("scheduling.nodeSelector", object.pointer("/scheduling/nodeSelector")));
        check_tolerations(list(object, "/scheduling/tolerations"), &Path::root("scheduling.tolerations"), &mut causes);
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        immutable("handler", object.get("handler"), old.get("handler")).into_iter().collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![text(object, "/handler").into(), age(object, context.now).into()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_has_one_handler_for_ever() {
        let (wasm, none) = (json!({"handler": "wasm"}), json!({"overhead": {"podFixed": {"cpu": "-1"}}}));
        assert_eq!(RuntimeClass.validate(&wasm), []);
        let fields: Vec<String> = RuntimeClass.validate(&none).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["handler", "overhead.podFixed[cpu]"]);
        assert_eq!(RuntimeClass.validate_update(&none, &wasm)[0].field, "handler");
    }
}
