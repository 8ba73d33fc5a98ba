//! `ResourceSlice`: devices that a driver offers.

use std::collections::HashSet;

use serde_json::Value;

use super::super::builder::resource;
use super::super::pod_template::check_node_selector;
use super::super::value::{absent, flag, int, list, text};
use super::{GROUP, check_driver};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, complaints, dns1123_label, dns1123_subdomain, duplicate, immutable, invalid, required, too_many};

struct Slice;

const MAX_DEVICES: usize = 128;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "ResourceSlice", "resourceslices", Scope::Cluster, Slice)
}

const COLUMNS: &[Column] = &[
    Column::text("Node", "The node that has the devices."),
    Column::text("Driver", "The driver that offers them."),
    Column::text("Pool", "The pool that they belong to."),
    Column::AGE,
];

impl Strategy for Slice {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let (at, spec) = (Path::root("spec"), object.get("spec").unwrap_or(&Value::Null));
        let mut causes = Vec::new();
        check_driver(text(spec, "/driver"), &at.field("driver"), &mut causes);
        let pool = at.field("pool");
        match text(spec, "/pool/name") {
            "" => causes.push(required(pool.field("name"), "")),
            name => {
                let wrong = name.split('/').flat_map(dns1123_subdomain).collect();
                causes.extend(complaints(pool.field("name"), name, wrong));
            }
        }
        let count = int(spec, "/pool/resourceSliceCount").unwrap_or(0);
        if count <= 0 {
            causes.push(invalid(pool.field("resourceSliceCount"), &count.into(), "must be greater than zero"));
        }
        check_place(spec, &at, &mut causes);
        let (devices, path) = (list(spec, "/devices"), at.field("devices"));
        if devices.len() > MAX_DEVICES {
            causes.push(too_many(path, devices.len(), MAX_DEVICES));
        }
        let mut names = HashSet::new();
        for (index, device) in devices.iter().enumerate() {
            let (at, name) = (path.index(index), text(device, "/name"));
            match name {
                "" => causes.push(required(at.field("name"), "")),
                name => causes.extend(complaints(at.field("name"), name, dns1123_label(name))),
            }
            if !names.insert(name) {
                causes.push(duplicate(at.field("name"), &name.into()));
            }
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let fields =
            [("spec.driver", "/spec/driver"), ("spec.pool.name", "/spec/pool/name"), ("spec.nodeName", "/spec/nodeName")];
        fields.iter().filter_map(|(field, pointer)| immutable(field, object.pointer(pointer), old.pointer(pointer))).collect()
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        match path {
            "spec.nodeName" => Some(text(object, "/spec/nodeName").to_owned()),
            "spec.driver" => Some(text(object, "/spec/driver").to_owned()),
            _ => None,
        }
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.nodeName", "spec.driver"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        ["/spec/nodeName", "/spec/driver", "/spec/pool/name"]
            .iter()
            .map(|pointer| text(object, pointer).to_owned())
            .chain([age(object, context.now)])
            .map(Value::String)
            .collect()
    }
}

/// Exactly one field says from which nodes the devices can be reached.
fn check_place(spec: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let given = [
        !text(spec, "/nodeName").is_empty(),
        !absent(spec, "/nodeSelector"),
        flag(spec, "/allNodes"),
        flag(spec, "/perDeviceNodeSelection"),
    ];
    let what = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match given.iter().filter(|given| **given).count() {
        0 => causes.push(required(at, what)),
        1 => {}
        _ => causes.push(invalid(at, &Value::Null, format!("{what}, but multiple fields are set"))),
    }
    if let Some(selector) = spec.get("nodeSelector").filter(|selector| selector.is_object()) {
        check_node_selector(selector, &at.field("nodeSelector"), causes);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slice_is_of_one_driver_pool_and_place() {
        let right = json!({"spec": {"driver": "gpu.example.com", "nodeName": "n", "pool": {"name": "n", "resourceSliceCount": 1},
            "devices": [{"name": "gpu-0"}]}});
        assert_eq!(Slice.validate(&right), []);
        assert_eq!(
            Slice.cells(&right, Context { now: jiff::Timestamp::UNIX_EPOCH })[..3],
            ["n", "gpu.example.com", "n"].map(Value::from)
        );
        let fields: Vec<String> =
            Slice.validate(&json!({"spec": {"devices": [{}]}})).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["spec.driver", "spec.pool.name", "spec.pool.resourceSliceCount", "spec", "spec.devices[0].name"]);
        assert_eq!(Slice.validate_update(&json!({"spec": {}}), &right).len(), 3);
    }
}
