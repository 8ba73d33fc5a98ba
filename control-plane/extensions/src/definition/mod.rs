//! `CustomResourceDefinition` itself, as a kind.

mod names;
mod validate;
mod versions;

use std::sync::Arc;

use mizzen_api::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy, Subresource, Verb};
use mizzen_api::status::Cause;
use serde_json::{Map, Value, json};

pub const GROUP: &str = "apiextensions.k8s.io";
pub const RESOURCE: &str = "customresourcedefinitions";
/// Keeps a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition";

const ALL: &[Verb] =
    &[Verb::Create, Verb::Delete, Verb::DeleteCollection, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];
const STATUS: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];

pub fn descriptor() -> ResourceDescriptor {
    ResourceDescriptor {
        group: GROUP.into(),
        versions: vec!["v1".into()],
        kind: "CustomResourceDefinition".into(),
        resource: RESOURCE.into(),
        singular: "customresourcedefinition".into(),
        short_names: vec!["crd".into(), "crds".into()],
        categories: vec!["api-extensions".into()],
        scope: Scope::Cluster,
        verbs: ALL,
        subresources: vec![Subresource { name: "status", kind: None, verbs: STATUS }],
        scale: None,
        schema: SCHEMA.into(),
        virtual_only: false,
        other_forms: Vec::new(),
        stored_as: None,
        custom: None,
        strategy: Arc::new(Definition),
    }
}

/// Whether a condition of the definition's status is `True`.
pub fn is_true(definition: &Value, condition: &str) -> bool {
    definition
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|found| found["type"] == condition && found["status"] == "True")
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The version that is stored.
pub(crate) fn storage_version(definition: &Value) -> Option<&str> {
    list(definition, "/spec/versions").iter().find(|version| version["storage"] == true)?.get("name")?.as_str()
}

struct Definition;

const COLUMNS: &[Column] = &[Column::date("Created At", "When the definition was created.")];

impl Strategy for Definition {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    /// On the defaults of its schemas.
    fn runs_rules(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let kind = text(object, "/spec/names/kind").to_owned();
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
        if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
            fill(names, "singular", kind.to_lowercase());
            fill(names, "listKind", if kind.is_empty() { String::new() } else { format!("{kind}List") });
        }
        let conversion = spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
        if let Some(service) = conversion.pointer_mut("/webhook/clientConfig/service").and_then(Value::as_object_mut) {
            service.entry("port").or_insert(json!(443));
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let stored: Vec<String> = storage_version(object).into_iter().map(str::to_owned).collect();
        object["status"] = json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": stored});
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        let stored = storage_version(object).map(str::to_owned);
        let mut status = old.get("status").cloned().unwrap_or_else(|| json!({}));
        if let (Some(stored), Some(status)) = (stored, status.as_object_mut())
            && let Some(versions) = status.entry("storedVersions").or_insert_with(|| json!([])).as_array_mut()
            && !versions.iter().any(|version| *version == stored.as_str())
        {
            versions.push(stored.into());
        }
        object["status"] = status;
    }

    /// The objects go before the definition does.
    fn prepare_delete(&self, object: &mut Value, now: &str) {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
            && let Some(finalizers) = metadata.entry("finalizers").or_insert_with(|| json!([])).as_array_mut()
            && !finalizers.iter().any(|finalizer| finalizer == FINALIZER)
        {
            finalizers.push(FINALIZER.into());
        }
        let status = object.as_object_mut().map(|object| object.entry("status").or_insert_with(|| json!({})));
        if let Some(conditions) = status
            .and_then(Value::as_object_mut)
            .and_then(|status| status.entry("conditions").or_insert_with(|| json!([])).as_array_mut())
        {
            conditions.retain(|condition| condition["type"] != "Terminating");
            conditions.push(json!({
                "type": "Terminating", "status": "True", "lastTransitionTime": now, "reason": "InstanceDeletionPending",
                "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
            }));
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        validate::definition(object)
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        validate::update(object, old)
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> Vec<Cause> {
        validate::stored_versions(object)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, _context: Context) -> Vec<Value> {
        vec![text(object, "/metadata/creationTimestamp").into()]
    }
}

fn fill(object: &mut Map<String, Value>, key: &str, default: String) {
    if object.get(key).and_then(Value::as_str).is_none_or(str::is_empty) && !default.is_empty() {
        object.insert(key.to_owned(), default.into());
    }
}
