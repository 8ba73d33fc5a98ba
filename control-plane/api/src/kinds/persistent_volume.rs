//! `PersistentVolume`.

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::pod_template::check_node_selector;
use super::value::{absent, child, entries, fill, list, set, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{
    Path, check_positive_quantity, complaints, dns1123_subdomain, forbidden, immutable, invalid_text, not_supported,
    not_supported_value, one_of, required,
};

struct Volume;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "PersistentVolume", "persistentvolumes", Scope::Cluster, Volume).short("pv").status()
}

const COLUMNS: &[Column] = &[
    Column::text("Capacity", "How large the volume is."),
    Column::text("Access Modes", "How the volume may be used."),
    Column::text("Reclaim Policy", "What becomes of it when it is released."),
    Column::text("Status", "Whether a claim has it."),
    Column::text("Claim", "The claim that has it."),
    Column::text("StorageClass", "The class that it belongs to."),
    Column::text("VolumeAttributesClass", "The class of its changeable parameters."),
    Column::text("Reason", "Why it is in its state."),
    Column::AGE,
    Column::wide("VolumeMode", "Whether it is a file system or a block device."),
];

pub(super) const MODES: &[&str] = &["Block", "Filesystem"];

/// Access modes, and how kubectl shortens them, in its order.
const ACCESS: &[(&str, &str)] =
    &[("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];

/// Where a volume may come from.
const SOURCES: &[&str] = &[
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
];

pub(super) fn access_modes(object: &Value, pointer: &str) -> String {
    let modes = list(object, pointer);
    let shown = ACCESS.iter().filter(|(mode, _)| modes.iter().any(|given| given == mode)).map(|(_, short)| *short);
    shown.collect::<Vec<_>>().join(",")
}

/// Checks `spec.accessModes`.
pub(super) fn check_access_modes(object: &Value, none: &str, causes: &mut Vec<Cause>) {
    let at = Path::root("spec.accessModes");
    let modes: Vec<&str> = list(object, "/spec/accessModes").iter().filter_map(Value::as_str).collect();
    if modes.is_empty() {
        causes.push(required(at, none));
    }
    let known: Vec<&str> = ACCESS.iter().map(|(mode, _)| *mode).collect();
    causes.extend(modes.iter().filter(|mode| !known.contains(*mode)).map(|mode| not_supported(at, mode, &known)));
    if modes.contains(&"ReadWriteOncePod") && modes.iter().any(|mode| *mode != "ReadWriteOncePod" && known.contains(mode)) {
        causes.push(forbidden(at, "may not use ReadWriteOncePod with other access modes"));
    }
}

impl Strategy for Volume {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = child(object, "spec") {
            fill(spec, "persistentVolumeReclaimPolicy", "Retain");
            fill(spec, "volumeMode", "Filesystem");
            if let Some(path) = spec.get_mut("hostPath").filter(|path| path.is_object())
                && path.get("type").is_none()
            {
                set(path, "type", "");
            }
        }
        if let Some(status) = child(object, "status") {
            fill(status, "phase", "Pending");
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"phase": "Pending"}));
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let spec = Path::root("spec");
        check_access_modes(object, "", &mut causes);
        let capacity = spec.field("capacity");
        let names: Vec<&str> = entries(object, "/spec/capacity").map(|(name, _)| name.as_str()).collect();
        match names.as_slice() {
            [] => causes.push(required(capacity, "")),
            ["storage"] => {}
            _ => causes.push(not_supported_value(capacity, &object["spec"]["capacity"], &["storage"])),
        }
        for (name, amount) in entries(object, "/spec/capacity") {
            check_positive_quantity(amount, &capacity.key(name), &mut causes);
        }
        let policies = ["Delete", "Recycle", "Retain"];
        let policy = text(object, "/spec/persistentVolumeReclaimPolicy");
        causes.extend(one_of(spec.field("persistentVolumeReclaimPolicy"), policy, &policies));
        check_affinity(object, &spec, &mut causes);
        check_source(object, &spec, &mut causes);
        if text(object, "/spec/hostPath/path") == "/" && policy == "Recycle" {
            let why = "may not be 'recycle' for a hostPath mount of '/'";
            causes.push(forbidden(spec.field("persistentVolumeReclaimPolicy"), why));
        }
        let class = text(object, "/spec/storageClassName");
        if !class.is_empty() {
            causes.extend(complaints(spec.field("storageClassName"), class, dns1123_subdomain(class)));
        }
        causes.extend(one_of(spec.field("volumeMode"), text(object, "/spec/volumeMode"), MODES));
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let same = |field: &str| {
            let pointer = format!("/spec/{field}");
            object.pointer(&pointer) == old.pointer(&pointer)
        };
        let mut causes = Vec::new();
        if !SOURCES.iter().all(|source| same(source)) {
            let why = "spec.persistentvolumesource is immutable after creation";
            causes.push(forbidden("spec.persistentvolumesource", why));
        }
        causes.extend(immutable("volumeMode", object.pointer("/spec/volumeMode"), old.pointer("/spec/volumeMode")));
        if !absent(old, "/spec/nodeAffinity") {
            let pointer = "/spec/nodeAffinity";
            causes.extend(immutable("nodeAffinity", object.pointer(pointer), old.pointer(pointer)));
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let phase = if absent(object, "/metadata/deletionTimestamp") { text(object, "/status/phase") } else { "Terminating" };
        let claim = match text(object, "/spec/claimRef/name") {
            "" => String::new(),
            name => format!("{}/{name}", text(object, "/spec/claimRef/namespace")),
        };
        let unset = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("<unset>").to_owned();
        [
            text(object, "/spec/capacity/storage").to_owned(),
            access_modes(object, "/spec/accessModes"),
            text(object, "/spec/persistentVolumeReclaimPolicy").to_owned(),
            phase.to_owned(),
            claim,
            text(object, "/spec/storageClassName").to_owned(),
            unset("/spec/volumeAttributesClassName"),
            text(object, "/status/reason").to_owned(),
            age(object, context.now),
            unset("/spec/volumeMode"),
        ]
        .into_iter()
        .map(Value::String)
        .collect()
    }
}

fn check_affinity(object: &Value, spec: &Path, causes: &mut Vec<Cause>) {
    let at = spec.field("nodeAffinity");
    let Some(affinity) = object.pointer("/spec/nodeAffinity").filter(|affinity| affinity.is_object()) else {
        if !absent(object, "/spec/local") {
            causes.push(required(at, "Local volume requires node affinity"));
        }
        return;
    };
    let at = at.field("required");
    match affinity.get("required").filter(|selector| selector.is_object()) {
        None => causes.push(required(at, "must specify required node constraints")),
        Some(selector) => check_node_selector(selector, &at, causes),
    }
}

fn check_source(object: &Value, spec: &Path, causes: &mut Vec<Cause>) {
    let mut sources = SOURCES.iter().filter(|source| !absent(object, &format!("/spec/{source}")));
    let Some(kind) = sources.next() else {
        causes.push(required(spec, "must specify a volume type"));
        return;
    };
    causes.extend(sources.map(|more| forbidden(spec.field(more), "may not specify more than 1 volume type")));
    let at = spec.field(kind);
    let needed: &[&str] = match *kind {
        "csi" => &["driver", "volumeHandle"],
        "hostPath" | "local" => &["path"],
        "nfs" => &["server", "path"],
        _ => &[],
    };
    let get = |field: &str| text(object, &format!("/spec/{kind}/{field}"));
    causes.extend(needed.iter().filter(|field| get(field).is_empty()).map(|field| required(at.field(field), "")));
    let path = get("path");
    if path.split('/').any(|part| part == "..") {
        causes.push(invalid_text(at.field("path"), path, "must not contain '..'"));
    }
    if *kind == "nfs" && !path.is_empty() && !path.starts_with('/') {
        causes.push(invalid_text(at.field("path"), path, "must be an absolute path"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(spec: Value) -> Value {
        let mut object = json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "hostPath": {"path": "/v"}}});
        if let (Some(into), Value::Object(spec)) = (object["spec"].as_object_mut(), spec) {
            into.extend(spec);
        }
        Volume.default(&mut object);
        object
    }

    #[test]
    fn a_volume_shows_what_it_is() {
        let object = volume(json!({"claimRef": {"namespace": "ns", "name": "c"}, "storageClassName": "fast"}));
        assert_eq!(Volume.validate(&object), []);
        let cells = Volume.cells(&object, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..6], ["1Gi", "RWO,RWX", "Retain", "Pending", "ns/c", "fast"].map(Value::from));
    }

    #[test]
    fn wrong_volumes_are_refused_and_the_source_stays() {
        for (spec, field) in [
            (json!({"capacity": {}}), "spec.capacity"),
            (json!({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}), "spec.accessModes"),
            (json!({"hostPath": null}), "spec"),
            (json!({"nfs": {"server": "s", "path": "/"}}), "spec.nfs"),
            (json!({"hostPath": null, "local": {"path": "/v"}}), "spec.nodeAffinity"),
            (json!({"hostPath": {"path": "/../v"}}), "spec.hostPath.path"),
        ] {
            let causes = Volume.validate(&volume(spec));
            assert_eq!(causes.first().map(|cause| cause.field.as_str()), Some(field), "{causes:?}");
        }
        let moved = Volume.validate_update(&volume(json!({"hostPath": {"path": "/w"}})), &volume(json!({})));
        assert_eq!(moved[0].field, "spec.persistentvolumesource");
    }
}
