//! `CSIStorageCapacity`: how much room a class has in a part of the cluster.

use serde_json::Value;

use super::super::builder::resource;
use super::super::value::text;
use super::GROUP;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::status::Cause;
use crate::validate::{Path, check_quantity, complaints, dns1123_subdomain, immutable, validate_label_selector};

struct Capacity;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "CSIStorageCapacity", "csistoragecapacities", Scope::Namespaced, Capacity)
}

const COLUMNS: &[Column] =
    &[Column::text("StorageClassName", "The class that has the room."), Column::text("Capacity", "How much room there is.")];

impl Strategy for Capacity {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let class = text(object, "/storageClassName");
        let mut causes: Vec<Cause> = complaints("storageClassName", class, dns1123_subdomain(class)).collect();
        for field in ["capacity", "maximumVolumeSize"] {
            if let Some(amount) = object.get(field).filter(|amount| !amount.is_null()) {
                check_quantity(amount, &Path::root(field), &mut causes);
            }
        }
        causes.extend(validate_label_selector(object.get("nodeTopology"), &Path::root("nodeTopology")));
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let fields = ["nodeTopology", "storageClassName"].iter();
        fields.filter_map(|field| immutable(field, object.get(field), old.get(field))).collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, _context: Context) -> Vec<Value> {
        let capacity = object.get("capacity").and_then(Value::as_str).unwrap_or("<unset>");
        vec![text(object, "/storageClassName").into(), capacity.into()]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn capacity_is_of_one_class_and_place() {
        let fast = json!({"storageClassName": "fast", "capacity": "1Gi"});
        assert_eq!(Capacity.validate(&fast), []);
        let wrong = json!({"storageClassName": "", "capacity": "-1", "nodeTopology": {}});
        let fields: Vec<String> = Capacity.validate(&wrong).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["storageClassName", "capacity"]);
        assert_eq!(Capacity.validate_update(&wrong, &fast).len(), 2);
    }
}
