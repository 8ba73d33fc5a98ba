//! `CSIDriver`.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::builder::resource;
use super::super::value::{absent, child, fill, flag, int, list, text};
use super::{GROUP, check_driver_name};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::{age, or_none};
use crate::status::Cause;
use crate::validate::{Path, duplicate, immutable, invalid, not_supported, one_of, required};

struct Driver;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "CSIDriver", "csidrivers", Scope::Cluster, Driver)
}

const COLUMNS: &[Column] = &[
    Column::flag("AttachRequired", "Whether volumes are attached to nodes."),
    Column::flag("PodInfoOnMount", "Whether the driver hears of the pod when it mounts."),
    Column::flag("StorageCapacity", "Whether the driver says how much room there is."),
    Column::text("TokenRequests", "The audiences of the service account tokens that the driver gets."),
    Column::flag("RequiresRepublish", "Whether the driver is called again and again."),
    Column::text("Modes", "The kinds of volumes that the driver serves."),
    Column::AGE,
];

impl Strategy for Driver {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "attachRequired", true);
        for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            fill(spec, field, false);
        }
        fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if list(spec, "/volumeLifecycleModes").is_empty() {
            spec["volumeLifecycleModes"] = json!(["Persistent"]);
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let spec = Path::root("spec");
        check_driver_name(text(object, "/metadata/name"), &Path::root("metadata.name"), &mut causes);
        for field in ["attachRequired", "podInfoOnMount", "storageCapacity"] {
            if absent(object, &format!("/spec/{field}")) {
                causes.push(required(spec.field(field), ""));
            }
        }
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        causes.extend(one_of(spec.field("fsGroupPolicy"), text(object, "/spec/fsGroupPolicy"), &policies));
        let tokens = spec.field("tokenRequests");
        let mut audiences = HashSet::new();
        for (index, token) in list(object, "/spec/tokenRequests").iter().enumerate() {
            let (at, audience) = (tokens.index(index), text(token, "/audience"));
            if !audiences.insert(audience) {
                causes.push(duplicate(at.field("audience"), &audience.into()));
            }
            if let Some(seconds) = int(token, "/expirationSeconds") {
                let at = at.field("expirationSeconds");
                if seconds < 600 {
                    causes.push(invalid(at, &seconds.into(), "may not specify a duration less than 10 minutes"));
                } else if seconds > 1 << 32 {
                    causes.push(invalid(at, &seconds.into(), "may not specify a duration larger than 2^32 seconds"));
                }
            }
        }
        let modes = spec.field("volumeLifecycleModes");
        for mode in list(object, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str) {
            if !matches!(mode, "Ephemeral" | "Persistent") {
                causes.push(not_supported(modes, mode, &["Ephemeral", "Persistent"]));
            }
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let same = |path: &str, pointer: &str| immutable(path, object.pointer(pointer), old.pointer(pointer));
        let attach = same("spec.attachedRequired", "/spec/attachRequired");
        attach.into_iter().chain(same("spec.volumeLifecycleModes", "/spec/volumeLifecycleModes")).collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let tokens = match object.pointer("/spec/tokenRequests").and_then(Value::as_array) {
            None => "<unset>".to_owned(),
            Some(tokens) => tokens.iter().map(|token| text(token, "/audience")).collect::<Vec<_>>().join(","),
        };
        let modes: Vec<&str> = list(object, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
        vec![
            flag(object, "/spec/attachRequired").into(),
            flag(object, "/spec/podInfoOnMount").into(),
            flag(object, "/spec/storageCapacity").into(),
            tokens.into(),
            flag(object, "/spec/requiresRepublish").into(),
            or_none(&modes.join(",")).into(),
            age(object, context.now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_attaches_persistent_volumes_unless_told_otherwise() {
        let mut driver = json!({"metadata": {"name": "hostpath.csi.k8s.io"}, "spec": {}});
        Driver.default(&mut driver);
        assert_eq!(Driver.validate(&driver), []);
        let cells = Driver.cells(&driver, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..6], [json!(true), json!(false), json!(false), json!("<unset>"), json!(false), json!("Persistent")]);
        let mut other = driver.clone();
        other["spec"]["attachRequired"] = json!(false);
        assert_eq!(Driver.validate_update(&other, &driver)[0].message, "Invalid value: false: field is immutable");
    }
}
