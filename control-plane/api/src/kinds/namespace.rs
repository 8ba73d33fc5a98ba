//! `Namespace`.

use serde_json::{Map, Value, json};

use super::builder::{Describe, resource};
use super::value::{child, list, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy, Verb, keep_all_but};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{NameRule, complaints, invalid, one_of, qualified_name};

struct Namespace;

/// Every namespace is labelled with its own name, so that selectors can pick it.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn descriptor() -> ResourceDescriptor {
    let mut descriptor = resource("", "Namespace", "namespaces", Scope::Cluster, Namespace)
        .short("ns")
        .subresource("finalize", None, &[Verb::Update])
        .status();
    // To delete many namespaces at once is too dangerous to offer.
    descriptor.verbs = &[Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];
    descriptor
}

const COLUMNS: &[Column] = &[Column::text("Status", "Whether the namespace is being deleted."), Column::AGE];

fn keep(object: &mut Value, old: &Value, field: &str) {
    if let Some(object) = object.as_object_mut() {
        match old.get(field) {
            Some(value) => object.insert(field.to_owned(), value.clone()),
            None => object.remove(field),
        };
    }
}

impl Strategy for Namespace {
    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        let name = text(object, "/metadata/name").to_owned();
        if !name.is_empty()
            && let Some(labels) = child(object, "metadata").and_then(|metadata| child(metadata, "labels"))
            && let Some(labels) = labels.as_object_mut()
        {
            labels.insert(NAME_LABEL.to_owned(), name.into());
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else { return };
        fields.insert("status".to_owned(), json!({"phase": "Active"}));
        let spec = fields.entry("spec").or_insert_with(|| Value::Object(Map::new()));
        if let Some(spec) = spec.as_object_mut() {
            let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
            if let Some(finalizers) = finalizers.as_array_mut()
                && !finalizers.iter().any(|finalizer| finalizer == "kubernetes")
            {
                finalizers.push("kubernetes".into());
            }
        }
    }

    /// The finalizers of a namespace change through `finalize` only.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "status");
        keep(object, old, "spec");
    }

    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        match subresource {
            "finalize" => keep_all_but(&["metadata", "spec"], object, old),
            _ => keep_all_but(&["metadata", "status"], object, old),
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        for (index, finalizer) in list(object, "/spec/finalizers").iter().enumerate() {
            let name = finalizer.as_str().unwrap_or("");
            causes.extend(complaints(format!("spec.finalizers[{index}]"), name, qualified_name(name)));
            if name != "kubernetes" && !name.contains('/') {
                let why = "name is neither a standard finalizer name nor is it fully qualified";
                causes.push(invalid(format!("spec.finalizers[{index}]"), finalizer, why));
            }
        }
        causes
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Value, _old: &Value) -> Vec<Cause> {
        let (phase, dying) = (text(object, "/status/phase"), object.pointer("/metadata/deletionTimestamp").is_some());
        if subresource != "status" {
            return self.validate(object);
        }
        let mut causes: Vec<Cause> = one_of("status.phase", phase, &["Active", "Terminating"]).into_iter().collect();
        if dying && phase != "Terminating" {
            causes.push(invalid("status.phase", &phase.into(), "may only be 'Terminating' if `deletionTimestamp` is not empty"));
        } else if !dying && phase == "Terminating" {
            causes.push(invalid("status.phase", &phase.into(), "may only be 'Active' if `deletionTimestamp` is empty"));
        }
        causes
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Dns1123Label
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        (path == "status.phase" || path == "name").then(|| match path {
            "name" => text(object, "/metadata/name").to_owned(),
            _ => text(object, "/status/phase").to_owned(),
        })
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.phase", "name"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![text(object, "/status/phase").into(), age(object, context.now).into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_namespace_is_active_labelled_and_has_its_finalizer() {
        let mut object =
            json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["example.com/x"]}, "status": {"phase": "Terminating"}});
        Namespace.default(&mut object);
        Namespace.prepare_create(&mut object);
        assert_eq!(object["metadata"]["labels"][NAME_LABEL], "a");
        assert_eq!(object["spec"]["finalizers"], json!(["example.com/x", "kubernetes"]));
        assert_eq!(object["status"], json!({"phase": "Active"}));
        assert_eq!(Namespace.validate(&object), []);
    }

    #[test]
    fn finalizers_change_only_through_finalize() {
        let old = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        let new = json!({"metadata": {"name": "a", "labels": {"b": "c"}}, "spec": {"finalizers": []}, "status": {"phase": "x"}});
        let mut updated = new.clone();
        Namespace.prepare_update(&mut updated, &old);
        assert_eq!((&updated["spec"], &updated["status"]), (&old["spec"], &old["status"]));
        assert_eq!(updated["metadata"]["labels"]["b"], "c");
        let mut finalized = new;
        Namespace.prepare_subresource_update("finalize", &mut finalized, &old);
        assert_eq!((&finalized["spec"]["finalizers"], &finalized["status"]), (&json!([]), &old["status"]));
    }
}
