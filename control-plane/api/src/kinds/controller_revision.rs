//! `ControllerRevision`: a state of a workload, kept to return to.

use serde_json::Value;

use super::builder::resource;
use super::value::{absent, int, list, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{immutable, non_negative, required};

struct ControllerRevision;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("apps", "ControllerRevision", "controllerrevisions", Scope::Namespaced, ControllerRevision)
}

const COLUMNS: &[Column] = &[
    Column::text("Controller", "The workload whose state it is."),
    Column::text("Revision", "The number of the state."),
    Column::AGE,
];

impl Strategy for ControllerRevision {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        if absent(object, "/data") {
            causes.push(required("data", "data is mandatory"));
        }
        causes.extend(non_negative("revision", object.get("revision")));
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        immutable("data", object.get("data"), old.get("data")).into_iter().collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let owners = list(object, "/metadata/ownerReferences").iter();
        let controller = owners.filter(|owner| owner.get("controller") == Some(&Value::Bool(true))).map(controller_name).next();
        vec![
            controller.unwrap_or_else(|| "<none>".to_owned()).into(),
            int(object, "/revision").unwrap_or(0).to_string().into(),
            age(object, context.now).into(),
        ]
    }
}

/// `kind.group/name`, as kubectl names objects.
fn controller_name(owner: &Value) -> String {
    let kind = text(owner, "/kind").to_lowercase();
    match text(owner, "/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text(owner, "/name")),
        None => format!("{kind}/{}", text(owner, "/name")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_revision_shows_whose_it_is_and_keeps_its_data() {
        let revision = json!({"revision": 3, "data": {"a": 1}, "metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": true}]}});
        let now = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
        let cells = ControllerRevision.cells(&revision, Context { now });
        assert_eq!(cells[..2], [json!("statefulset.apps/web"), json!("3")]);
        assert_eq!(ControllerRevision.validate(&revision), []);
        let other = json!({"revision": -1, "data": {"a": 2}});
        assert_eq!(ControllerRevision.validate_update(&other, &revision)[0].field, "data");
        assert_eq!(ControllerRevision.validate(&json!({"revision": -1})).len(), 2);
    }
}
