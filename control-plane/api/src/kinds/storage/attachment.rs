//! `VolumeAttachment`: a volume that is, or is to be, attached to a node.

use serde_json::{Value, json};

use super::super::builder::{Describe, resource};
use super::super::value::{absent, flag, set, text};
use super::{GROUP, check_driver_name};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, complaints, dns1123_subdomain, forbidden, invalid, required};

struct Attachment;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "VolumeAttachment", "volumeattachments", Scope::Cluster, Attachment).status()
}

const COLUMNS: &[Column] = &[
    Column::named("Attacher", "The driver that attaches."),
    Column::text("PV", "The volume."),
    Column::text("Node", "The node."),
    Column::flag("Attached", "Whether the volume is attached."),
    Column::AGE,
];

impl Strategy for Attachment {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"attached": false}));
    }

    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let spec = Path::root("spec");
        let source = spec.field("source");
        check_driver_name(text(object, "/spec/attacher"), &spec.field("attacher"), &mut causes);
        let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        let (inline, name) = ("/spec/source/inlineVolumeSpec", "/spec/source/persistentVolumeName");
        match (absent(object, inline), absent(object, name)) {
            (true, true) => causes.push(required(source, why)),
            (false, false) => causes.push(forbidden(source, why)),
            (true, false) if text(object, name).is_empty() => {
                causes.push(required(source.field("persistentVolumeName"), "must specify non empty persistentVolumeName"));
            }
            _ => {}
        }
        let node = text(object, "/spec/nodeName");
        causes.extend(complaints(spec.field("nodeName"), node, dns1123_subdomain(node)));
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        (object.get("spec") != old.get("spec")).then(|| invalid("spec", spec, "field is immutable")).into_iter().collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![
            text(object, "/spec/attacher").into(),
            text(object, "/spec/source/persistentVolumeName").into(),
            text(object, "/spec/nodeName").into(),
            flag(object, "/status/attached").into(),
            age(object, context.now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_attachment_is_not_attached() {
        let mut made = json!({"status": {"attached": true, "attachmentMetadata": {"a": "b"}}});
        Attachment.prepare_create(&mut made);
        assert_eq!(made["status"], json!({"attached": false}));
    }

    #[test]
    fn an_attachment_names_one_volume_and_never_changes() {
        let right = json!({"spec": {"attacher": "a.io", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}});
        assert_eq!(Attachment.validate(&right), []);
        let wrong = json!({"spec": {"attacher": "", "nodeName": "n", "source": {}}});
        let fields: Vec<String> = Attachment.validate(&wrong).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["spec.attacher", "spec.source"]);
        assert_eq!(Attachment.validate_update(&wrong, &right)[0].field, "spec");
    }
}
