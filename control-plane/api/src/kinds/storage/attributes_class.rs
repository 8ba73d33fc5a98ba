//! `VolumeAttributesClass`: parameters of volumes that may change while they are used.

use serde_json::Value;

use super::super::builder::{Describe, resource};
use super::super::value::{entries, text};
use super::{GROUP, check_driver_name, check_parameters};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, immutable, required};

struct AttributesClass;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "VolumeAttributesClass", "volumeattributesclasses", Scope::Cluster, AttributesClass).short("vac")
}

const COLUMNS: &[Column] = &[Column::text("DriverName", "The driver that knows the parameters."), Column::AGE];

impl Strategy for AttributesClass {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        check_driver_name(text(object, "/driverName"), &Path::root("driverName"), &mut causes);
        if entries(object, "/parameters").next().is_none() {
            causes.push(required("parameters", "must contain at least one key/value pair"));
        }
        check_parameters(object, &mut causes);
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let fields = ["driverName", "parameters"].iter();
        fields.filter_map(|field| immutable(field, object.get(field), old.get(field))).collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![text(object, "/driverName").into(), age(object, context.now).into()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_has_a_driver_and_parameters_that_stay() {
        let gold = json!({"driverName": "a.io", "parameters": {"iops": "100"}});
        assert_eq!(AttributesClass.validate(&gold), []);
        assert_eq!(AttributesClass.validate(&json!({})).len(), 2);
        assert_eq!(AttributesClass.validate_update(&json!({}), &gold).len(), 2);
    }
}
