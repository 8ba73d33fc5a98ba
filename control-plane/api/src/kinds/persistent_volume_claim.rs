//! `PersistentVolumeClaim`.

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::persistent_volume::{MODES, access_modes, check_access_modes};
use super::value::{absent, child, fill, set, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::validate::{
    Path, check_positive_quantity, complaints, dns1123_subdomain, forbidden, immutable, one_of, required, validate_label_selector,
};

struct Claim;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "PersistentVolumeClaim", "persistentvolumeclaims", Scope::Namespaced, Claim).short("pvc").status()
}

const COLUMNS: &[Column] = &[
    Column::text("Status", "Whether the claim has its volume."),
    Column::text("Volume", "The volume that it has."),
    Column::text("Capacity", "How large the volume is."),
    Column::text("Access Modes", "How the volume may be used."),
    Column::text("StorageClass", "The class that makes the volume."),
    Column::text("VolumeAttributesClass", "The class of the volume's changeable parameters."),
    Column::AGE,
    Column::wide("VolumeMode", "Whether it is a file system or a block device."),
];

/// Defaults of a claim, also of one in a workload's template.
pub(super) fn default_claim(claim: &mut Value) {
    if let Some(spec) = child(claim, "spec") {
        fill(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = child(claim, "status") {
        fill(status, "phase", "Pending");
    }
}

impl Strategy for Claim {
    fn default(&self, object: &mut Value) {
        default_claim(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"phase": "Pending"}));
        // Both fields say where the data comes from; the older one cannot name another namespace.
        let Some(spec) = child(object, "spec") else { return };
        match (absent(spec, "/dataSource"), absent(spec, "/dataSourceRef")) {
            (false, true) => {
                let source = spec["dataSource"].clone();
                set(spec, "dataSourceRef", source);
            }
            (true, false) if absent(spec, "/dataSourceRef/namespace") => {
                let source = spec["dataSourceRef"].clone();
                set(spec, "dataSource", source);
            }
            _ => {}
        }
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let spec = Path::root("spec");
        let mut causes = validate_label_selector(object.pointer("/spec/selector"), &spec.field("selector"));
        check_access_modes(object, "at least 1 access mode is required", &mut causes);
        let resources = spec.field("resources");
        match object.pointer("/spec/resources/requests/storage") {
            None => causes.push(required(resources.key("storage"), "")),
            Some(amount) => check_positive_quantity(amount, &resources.key("storage"), &mut causes),
        }
        for field in ["storageClassName", "volumeAttributesClassName"] {
            let class = text(object, &format!("/spec/{field}"));
            if !class.is_empty() {
                causes.extend(complaints(spec.field(field), class, dns1123_subdomain(class)));
            }
        }
        causes.extend(one_of(spec.field("volumeMode"), text(object, "/spec/volumeMode"), MODES));
        let (source, reference) = (object.pointer("/spec/dataSource"), object.pointer("/spec/dataSourceRef"));
        for (field, value) in [("dataSource", source), ("dataSourceRef", reference)] {
            let Some(value) = value.filter(|value| value.is_object()) else { continue };
            let at = spec.field(field);
            for part in ["kind", "name"] {
                if text(value, &format!("/{part}")).is_empty() {
                    causes.push(required(at.field(part), ""));
                }
            }
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let bound = text(old, "/status/phase") == "Bound";
        if fixed(object, old, bound) != fixed(old, old, bound) {
            let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            causes.push(forbidden("spec", why));
        }
        let amount = |claim: &Value, pointer: &str| Quantity::from_value(claim.pointer(pointer)?).ok();
        let asked = |claim: &Value| amount(claim, "/spec/resources/requests/storage");
        // A volume may be larger than what was asked for.
        let shrinks = asked(object) < asked(old) && asked(object) < amount(object, "/status/capacity/storage");
        if bound && shrinks {
            causes.push(forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"));
        }
        causes.extend(immutable("volumeMode", object.pointer("/spec/volumeMode"), old.pointer("/spec/volumeMode")));
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let phase = if absent(object, "/metadata/deletionTimestamp") { text(object, "/status/phase") } else { "Terminating" };
        let has_volume = !text(object, "/spec/volumeName").is_empty();
        let of_volume = |shown: String| if has_volume { shown } else { String::new() };
        let unset = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("<unset>").to_owned();
        let class = match text(object, "/metadata/annotations/volume.beta.kubernetes.io~1storage-class") {
            "" => text(object, "/spec/storageClassName"),
            class => class,
        };
        [
            phase.to_owned(),
            text(object, "/spec/volumeName").to_owned(),
            of_volume(text(object, "/status/capacity/storage").to_owned()),
            of_volume(access_modes(object, "/status/accessModes")),
            class.to_owned(),
            unset("/spec/volumeAttributesClassName"),
            age(object, context.now),
            unset("/spec/volumeMode"),
        ]
        .into_iter()
        .map(Value::String)
        .collect()
    }
}

/// The parts of a claim's spec that stay: a volume and a class may be named once, a bound claim may grow.
fn fixed(object: &Value, old: &Value, bound: bool) -> serde_json::Map<String, Value> {
    let mut spec = object.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    spec.remove("volumeAttributesClassName");
    if text(old, "/spec/volumeName").is_empty() {
        spec.remove("volumeName");
    }
    if absent(old, "/spec/storageClassName") {
        spec.remove("storageClassName");
    }
    if bound && let Some(resources) = spec.get_mut("resources").and_then(Value::as_object_mut) {
        resources.remove("requests");
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(phase: &str, storage: &str) -> Value {
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "resources": {"requests": {"storage": storage}}},
            "status": {"phase": phase, "capacity": {"storage": "1Gi"}}})
    }

    #[test]
    fn a_claim_says_how_much_and_how_it_is_used() {
        assert_eq!(Claim.validate(&claim("Pending", "1Gi")), []);
        let causes = Claim.validate(&json!({"spec": {"accessModes": [], "volumeMode": "Tape"}}));
        let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["spec.accessModes", "spec.resources[storage]", "spec.volumeMode"]);
    }

    #[test]
    fn only_a_bound_claim_grows_and_none_shrinks() {
        assert_eq!(Claim.validate_update(&claim("Bound", "2Gi"), &claim("Bound", "1Gi")), []);
        assert_eq!(Claim.validate_update(&claim("Pending", "2Gi"), &claim("Pending", "1Gi"))[0].field, "spec");
        let shrunk = Claim.validate_update(&claim("Bound", "512Mi"), &claim("Bound", "1Gi"));
        assert_eq!(shrunk[0].message, "Forbidden: field can not be less than status.capacity");
        let small = claim("Bound", "1Mi");
        assert_eq!(Claim.validate_update(&small, &small), []);
        let mut named = claim("Pending", "1Gi");
        named["spec"]["volumeName"] = json!("pv");
        assert_eq!(Claim.validate_update(&named, &claim("Pending", "1Gi")), []);
    }
}
