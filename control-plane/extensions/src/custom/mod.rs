//! From a definition to what the pipeline works with: one descriptor for each served version.

mod columns;
mod json_path;
mod kind;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_api::descriptor::{Conversion, Custom, ResourceDescriptor, ScalePaths, Scope, Strategy, Subresource, Verb};
use mizzen_api::schema::{Later, Published, builtin};
use mizzen_api::{GroupVersionKind, descriptor};
use serde_json::Value;

pub use json_path::JsonPath;
pub use source::Source;

use crate::definition::{is_true, list, storage_version, text};
use crate::schema::{self, Structural, keeps_everything};
use crate::versions::by_priority;
use columns::Columns;
use kind::Kind;

const ALL: &[Verb] =
    &[Verb::Create, Verb::Delete, Verb::DeleteCollection, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];
const STATUS: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];

/// What is served for one definition.
#[derive(Default)]
pub struct Served {
    /// One for each served version, the preferred one first.
    pub descriptors: Vec<Arc<ResourceDescriptor>>,
    /// The shapes of the kind in its versions, by the name that their descriptors give.
    pub schemas: Vec<(Arc<str>, Arc<Later>)>,
    /// What OpenAPI publishes under these names, and the lists' besides.
    pub published: Vec<(Arc<str>, Published)>,
}

/// What to serve for a definition, whose schemas are read from `source` when they are needed; nothing until it is established.
pub fn served(definition: &Value, source: &Source) -> Served {
    let mut served = Served::default();
    let Some(stored) = storage_version(definition).filter(|_| is_true(definition, "Established")) else { return served };
    let all = list(definition, "/spec/versions");
    let mut versions: Vec<&Value> = all.iter().filter(|version| version["served"] == true).collect();
    if versions.is_empty() && definition.pointer("/metadata/deletionTimestamp").is_some() {
        // So that its objects can be reached and deleted.
        versions.extend(all.iter().filter(|version| version["storage"] == true));
    }
    versions.sort_by(|left, right| by_priority(text(left, "/name"), text(right, "/name")));
    let kinds: BTreeMap<Arc<str>, Arc<Kind>> =
        all.iter().map(|version| (text(version, "/name").into(), Arc::new(kind(version, source)))).collect();
    let strategies = kinds.iter().map(|(name, kind)| (name.clone(), kind.clone() as Arc<dyn Strategy>)).collect();
    let all = All { definition, source, stored, kinds: &kinds, strategies: &Arc::new(strategies) };
    for (index, version) in versions.into_iter().enumerate() {
        add(&mut served, &all, version, index == 0);
    }
    served
}

/// What the versions of a definition have in common.
struct All<'a> {
    definition: &'a Value,
    source: &'a Source,
    stored: &'a str,
    kinds: &'a BTreeMap<Arc<str>, Arc<Kind>>,
    strategies: &'a Arc<BTreeMap<Arc<str>, Arc<dyn Strategy>>>,
}

fn kind(version: &Value, source: &Source) -> Kind {
    let (source, name) = (source.clone(), text(version, "/name").to_owned());
    let has_status = version.pointer("/subresources/status").is_some_and(Value::is_object);
    let selectable = list(version, "/selectableFields").iter().map(|field| text(field, "/jsonPath").to_owned()).collect();
    Kind::new(move || Structural::parse(&source.schema(&name)), has_status, Columns::of(version), selectable)
}

fn add(served: &mut Served, all: &All<'_>, version: &Value, is_preferred: bool) {
    let All { definition, source, stored, kinds, strategies } = *all;
    let Some(strategy) = kinds.get(text(version, "/name")) else { return };
    // The names that were accepted are served, whatever is asked for meanwhile.
    let name = |field: &str| text(definition, &format!("/status/acceptedNames/{field}"));
    let (group, version_name) = (text(definition, "/spec/group"), text(version, "/name"));
    let gvk = GroupVersionKind::new(group, version_name, name("kind"));
    let raw = version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null);
    let schema_name: Arc<str> = schema_name(group, version_name, name("kind")).into();
    let list_name = schema_name_of_list(group, version_name, name("listKind"));
    let shape = {
        let (strategy, kind) = (strategy.clone(), gvk.clone());
        Later::new(gvk.clone(), move || schema::shape(strategy.schema(), kind))
    };
    let published = {
        let (source, kind) = (source.clone(), gvk.clone());
        Published::new(move || schema::published(source.schema(&kind.version), &kind))
    };
    let published_list = {
        let (item, kind, list_kind) = (schema_name.clone(), gvk.clone(), name("listKind").to_owned());
        Published::new(move || schema::published_list(&item, &kind, &list_kind))
    };
    served.schemas.push((schema_name.clone(), shape));
    served.published.push((schema_name.clone(), published));
    served.published.push((list_name.into(), published_list));

    let has_status = version.pointer("/subresources/status").is_some_and(Value::is_object);
    let scale = version.pointer("/subresources/scale").filter(|scale| scale.is_object());
    let mut subresources = Vec::new();
    if has_status {
        subresources.push(Subresource { name: "status", kind: None, verbs: STATUS });
    }
    if scale.is_some() {
        let kind = Some(GroupVersionKind::new("autoscaling", "v1", "Scale"));
        subresources.push(Subresource { name: "scale", kind, verbs: STATUS });
    }
    let names = |field: &str| {
        list(definition, &format!("/status/acceptedNames/{field}")).iter().filter_map(Value::as_str).map(Arc::from).collect()
    };
    served.descriptors.push(Arc::new(ResourceDescriptor {
        group: group.into(),
        versions: vec![version_name.into()],
        kind: name("kind").into(),
        resource: name("plural").into(),
        singular: name("singular").into(),
        short_names: names("shortNames"),
        categories: names("categories"),
        scope: if text(definition, "/spec/scope") == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        verbs: ALL,
        subresources,
        scale: scale.map(scale_paths),
        schema: schema_name,
        virtual_only: false,
        other_forms: Vec::new(),
        stored_as: None,
        custom: Some(Arc::new(Custom {
            definition: text(definition, "/metadata/name").into(),
            stored_version: stored.into(),
            is_preferred,
            conversion: conversion(definition),
            strategies: strategies.clone(),
            is_rewritten: !keeps_everything(raw),
            deprecation: deprecation(version, &gvk),
            is_terminating: definition.pointer("/metadata/deletionTimestamp").is_some(),
            list_kind: name("listKind").into(),
        })),
        strategy: strategy.clone(),
    }));
}

/// `com.example.stable.v1.CronTab`: the group backwards, as OpenAPI names kinds. A built-in kind keeps its name: the group
/// `core.api.k8s.io` would take that of the core group.
fn schema_name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.rsplit('.').collect();
    let name = format!("{}.{version}.{kind}", reversed.join("."));
    match builtin().get(&name) {
        Some(_) => format!("custom.{name}"),
        None => name,
    }
}

fn schema_name_of_list(group: &str, version: &str, list_kind: &str) -> String {
    schema_name(group, version, list_kind)
}

fn conversion(definition: &Value) -> Conversion {
    match text(definition, "/spec/conversion/strategy") {
        "Webhook" => Conversion::Webhook(Arc::new(definition.pointer("/spec/conversion/webhook").cloned().unwrap_or_default())),
        _ => Conversion::None,
    }
}

fn deprecation(version: &Value, gvk: &GroupVersionKind) -> Option<Arc<str>> {
    if version["deprecated"] != true {
        return None;
    }
    Some(match text(version, "/deprecationWarning") {
        "" => format!("{}/{} {} is deprecated", gvk.group, gvk.version, gvk.kind).into(),
        warning => warning.into(),
    })
}

fn scale_paths(scale: &Value) -> ScalePaths {
    let pointer = |field: &str| descriptor::pointer_of(text(scale, &format!("/{field}"))).into();
    ScalePaths {
        spec_replicas: pointer("specReplicasPath"),
        status_replicas: pointer("statusReplicasPath"),
        selector: pointer("labelSelectorPath"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn served(definition: &Value) -> Served {
        super::served(definition, &Source::of(definition))
    }

    fn definition() -> Value {
        json!({"metadata": {"name": "crontabs.stable.example.com"}, "spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"kind": "CronTab", "plural": "crontabs", "singular": "crontab", "listKind": "CronTabList", "shortNames": ["ct"]},
            "versions": [
                {"name": "v1beta1", "served": true, "storage": false, "deprecated": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"replicas": {"type": "integer", "default": 1}}}}}},
                 "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}},
                {"name": "v2", "served": false, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}},
            ]},
            "status": {"acceptedNames": {"kind": "CronTab", "plural": "crontabs", "singular": "crontab", "listKind": "CronTabList", "shortNames": ["ct"]},
                "conditions": [{"type": "Established", "status": "True"}]}})
    }

    #[test]
    fn a_definition_becomes_a_descriptor_for_each_served_version() {
        let served = served(&definition());
        let versions: Vec<&str> = served.descriptors.iter().map(|descriptor| &*descriptor.versions[0]).collect();
        assert_eq!(versions, ["v1", "v1beta1"]);
        let first = &served.descriptors[0];
        assert_eq!(&*first.schema, "com.example.stable.v1.CronTab");
        assert_eq!(first.scale.as_ref().expect("scales").spec_replicas, "/spec/replicas");
        assert!(first.is_preferred() && !served.descriptors[1].is_preferred());
        let warning = served.descriptors[1].custom.as_ref().and_then(|custom| custom.deprecation.clone());
        assert_eq!(warning.as_deref(), Some("stable.example.com/v1beta1 CronTab is deprecated"));
    }

    #[test]
    fn nothing_is_served_before_it_is_established() {
        let mut definition = definition();
        definition["status"]["conditions"][0]["status"] = json!("False");
        assert!(served(&definition).descriptors.is_empty());
    }

    #[test]
    fn a_built_in_kind_keeps_the_name_of_its_schema() {
        let mut definition = definition();
        definition["spec"]["group"] = json!("core.api.k8s.io");
        definition["status"]["acceptedNames"]["kind"] = json!("Pod");
        definition["status"]["acceptedNames"]["listKind"] = json!("PodList");
        let served = served(&definition);
        assert_eq!(&*served.descriptors[0].schema, "custom.io.k8s.api.core.v1.Pod");
        let names = served.schemas.iter().map(|(name, _)| name).chain(served.published.iter().map(|(name, _)| name));
        assert!(names.clone().all(|name| builtin().get(name).is_none()), "{:?}", names.collect::<Vec<_>>());
    }

    #[test]
    fn a_custom_kind_prunes_and_defaults() {
        let served = served(&definition());
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"gone": 1}});
        let strategy = &served.descriptors[0].strategy;
        assert_eq!(
            strategy.problems(&object).map(|problems| problems[0].to_string()),
            Some("unknown field \"spec.gone\"".to_owned())
        );
        strategy.default(&mut object);
        assert_eq!(object, json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}}));
    }
}
