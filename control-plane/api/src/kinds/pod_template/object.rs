//! `PodTemplate`: a template as an object of its own.

use serde_json::Value;

use super::super::builder::resource;
use super::super::value::{child, labels_text};
use super::super::workload::container_cells;
use super::{check_pod_template, default_template};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::status::Cause;
use crate::validate::Path;

struct PodTemplate;

pub(in super::super) fn descriptor() -> ResourceDescriptor {
    resource("", "PodTemplate", "podtemplates", Scope::Namespaced, PodTemplate)
}

const COLUMNS: &[Column] = &[
    Column::text("Containers", "Names of each container in the template."),
    Column::text("Images", "Images referenced by each container in the template."),
    Column::text("Pod Labels", "The labels of the pods to come."),
];

impl Strategy for PodTemplate {
    fn default(&self, object: &mut Value) {
        if let Some(template) = child(object, "template") {
            default_template(template);
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        check_pod_template(object.get("template").unwrap_or(&Value::Null), &Path::root("template"))
    }

    fn has_generation(&self, _object: &Value) -> bool {
        true
    }

    fn is_new_generation(&self, object: &Value, old: &Value) -> bool {
        object.get("template") != old.get("template")
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, _context: Context) -> Vec<Value> {
        let [containers, images] = container_cells(object, "/template/spec/containers");
        vec![containers, images, labels_text(object, "/template/metadata/labels").into()]
    }
}
