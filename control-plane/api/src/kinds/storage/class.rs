//! `StorageClass`.

use serde_json::Value;

use super::super::builder::{Describe, resource};
use super::super::value::{fill, flag, list, text};
use super::{GROUP, check_parameters};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, complaints, forbidden, immutable, label_key, one_of, qualified_name, required, required_one_of};

struct StorageClass;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "StorageClass", "storageclasses", Scope::Cluster, StorageClass).short("sc")
}

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Provisioner", "Who makes the volumes."),
    Column::text("ReclaimPolicy", "What becomes of a volume that is released."),
    Column::text("VolumeBindingMode", "When a volume is made and bound."),
    Column::text("AllowVolumeExpansion", "Whether volumes can grow."),
    Column::AGE,
];

/// Annotations that mark the class that claims without one get.
const DEFAULT: &[&str] = &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

impl Strategy for StorageClass {
    fn default(&self, object: &mut Value) {
        fill(object, "reclaimPolicy", "Delete");
        fill(object, "volumeBindingMode", "Immediate");
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        match text(object, "/provisioner") {
            "" => causes.push(required("provisioner", "")),
            name => causes.extend(complaints("provisioner", name, qualified_name(&name.to_lowercase()))),
        }
        check_parameters(object, &mut causes);
        causes.extend(one_of("reclaimPolicy", text(object, "/reclaimPolicy"), &["Delete", "Retain"]));
        let modes = ["Immediate", "WaitForFirstConsumer"];
        causes.extend(required_one_of("volumeBindingMode", text(object, "/volumeBindingMode"), &modes));
        let terms = Path::root("allowedTopologies");
        for (index, term) in list(object, "/allowedTopologies").iter().enumerate() {
            let at = terms.index(index);
            let expressions = at.field("matchLabelExpressions");
            for (index, expression) in list(term, "/matchLabelExpressions").iter().enumerate() {
                let (at, key) = (expressions.index(index), text(expression, "/key"));
                if list(expression, "/values").is_empty() {
                    causes.push(required(at.field("values"), ""));
                }
                causes.extend(complaints(at.field("key"), key, label_key(key)));
            }
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            if object.get(field) != old.get(field) {
                causes.push(forbidden(field, &format!("updates to {field} are forbidden.")));
            }
        }
        causes.extend(immutable("volumeBindingMode", object.get("volumeBindingMode"), old.get("volumeBindingMode")));
        causes
    }

    fn name_comes_first(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let annotation =
            |key: &&str| object.pointer("/metadata/annotations").is_some_and(|all| all.get(*key) == Some(&"true".into()));
        let mark = if DEFAULT.iter().any(annotation) { " (default)" } else { "" };
        vec![
            format!("{}{mark}", text(object, "/metadata/name")).into(),
            text(object, "/provisioner").into(),
            text(object, "/reclaimPolicy").into(),
            text(object, "/volumeBindingMode").into(),
            flag(object, "/allowVolumeExpansion").into(),
            age(object, context.now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_default_class_is_marked() {
        let mut class = json!({"metadata": {"name": "fast", "annotations": {DEFAULT[0]: "true"}}, "provisioner": "a.io/b"});
        StorageClass.default(&mut class);
        let cells = StorageClass.cells(&class, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..4], [json!("fast (default)"), json!("a.io/b"), json!("Delete"), json!("Immediate")]);
        assert_eq!(StorageClass.validate(&class), []);
    }

    #[test]
    fn what_a_class_means_stays() {
        let old = json!({"provisioner": "a", "parameters": {}, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"});
        let new = json!({"provisioner": "b", "parameters": {"a": "b"}, "reclaimPolicy": "Retain", "volumeBindingMode": "X"});
        let fields: Vec<String> = StorageClass.validate_update(&new, &old).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"]);
        let causes = StorageClass
            .validate(&json!({"volumeBindingMode": "X", "allowedTopologies": [{"matchLabelExpressions": [{"key": "a"}]}]}));
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["provisioner", "volumeBindingMode", "allowedTopologies[0].matchLabelExpressions[0].values"]);
    }
}
