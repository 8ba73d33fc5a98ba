//! Which groups, versions and resources there are, in the plain and in the aggregated form.

use std::sync::Arc;

use bytes::Bytes;
use mizzen_api::registry::Snapshot;
use mizzen_api::{Registry, ResourceDescriptor, Scope, Verb};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

/// The aggregated documents of one state of the registry, made when they are first asked for.
pub(crate) struct Discovery {
    registry: Arc<Registry>,
    made: Mutex<Option<Made>>,
}

struct Made {
    /// Of which registry.
    snapshot: Arc<Snapshot>,
    documents: Vec<Document>,
}

struct Document {
    core: bool,
    version: &'static str,
    json: Bytes,
    hash: String,
}

impl Discovery {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self { registry, made: Mutex::new(None) }
    }

    /// The document for `/api` (`core`) or `/apis` in a version of `apidiscovery.k8s.io`, and its hash.
    pub(crate) fn aggregated(&self, core: bool, version: &'static str) -> (Bytes, String) {
        let snapshot = self.registry.snapshot();
        let mut made = self.made.lock();
        let made = match &mut *made {
            Some(made) if Arc::ptr_eq(&made.snapshot, &snapshot) => made,
            stale => stale.insert(Made { snapshot, documents: Vec::new() }),
        };
        if let Some(known) = made.documents.iter().find(|known| known.core == core && known.version == version) {
            return (known.json.clone(), known.hash.clone());
        }
        let json = Bytes::from(aggregated(&self.registry, core, version).to_string());
        let hash = hex::encode_upper(Sha512::digest(&json));
        made.documents.push(Document { core, version, json: json.clone(), hash: hash.clone() });
        (json, hash)
    }
}

/// `/api`.
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "apiVersion": "v1", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// Groups and their versions in the order of the registry, the core group left out.
fn group_versions(registry: &Registry) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for descriptor in registry.iter().filter(|descriptor| !descriptor.group.is_empty()) {
        let index = groups.iter().position(|(group, _)| **group == *descriptor.group).unwrap_or_else(|| {
            groups.push((descriptor.group.to_string(), Vec::new()));
            groups.len() - 1
        });
        for version in &descriptor.versions {
            let versions = &mut groups[index].1;
            if !versions.iter().any(|known| **known == **version) {
                versions.push(version.to_string());
            }
        }
    }
    groups
}

fn group_value(group: &str, versions: &[String]) -> Value {
    let named: Vec<Value> =
        versions.iter().map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version})).collect();
    json!({"name": group, "versions": named, "preferredVersion": named.first()})
}

/// `/apis`.
pub(crate) fn groups(registry: &Registry) -> Value {
    let groups: Vec<Value> = group_versions(registry).iter().map(|(group, versions)| group_value(group, versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/G`.
pub(crate) fn group(registry: &Registry, group: &str) -> Option<Value> {
    let (name, versions) = group_versions(registry).into_iter().find(|(name, _)| name == group)?;
    let mut value = group_value(&name, &versions);
    value["kind"] = json!("APIGroup");
    value["apiVersion"] = json!("v1");
    Some(value)
}

fn in_version(registry: &Registry, group: &str, version: &str) -> Vec<std::sync::Arc<ResourceDescriptor>> {
    registry
        .iter()
        .filter(|descriptor| &*descriptor.group == group && descriptor.versions.iter().any(|served| &**served == version))
        .collect()
}

fn verbs(verbs: &[Verb]) -> Vec<&'static str> {
    let mut names: Vec<&str> = verbs.iter().map(|verb| verb.as_str()).collect();
    names.sort_unstable();
    names
}

/// `/api/v1` and `/apis/G/V`.
pub(crate) fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let descriptors = in_version(registry, group, version);
    if descriptors.is_empty() {
        return None;
    }
    let mut resources = Vec::new();
    for descriptor in descriptors {
        let namespaced = descriptor.scope == Scope::Namespaced;
        let mut resource = json!({
            "name": descriptor.resource, "singularName": descriptor.singular, "namespaced": namespaced,
            "kind": descriptor.kind, "verbs": verbs(descriptor.verbs),
        });
        if !descriptor.short_names.is_empty() {
            resource["shortNames"] = json!(descriptor.short_names);
        }
        if !descriptor.categories.is_empty() {
            resource["categories"] = json!(descriptor.categories);
        }
        resources.push(resource);
        for subresource in &descriptor.subresources {
            let mut entry = json!({
                "name": format!("{}/{}", descriptor.resource, subresource.name), "singularName": "", "namespaced": namespaced,
                "kind": subresource.kind.as_ref().map_or(&descriptor.kind, |kind| &kind.kind),
                "verbs": verbs(subresource.verbs),
            });
            if let Some(kind) = subresource.kind.as_ref().filter(|kind| *kind.group != *group || *kind.version != *version) {
                entry["group"] = json!(kind.group);
                entry["version"] = json!(kind.version);
            }
            resources.push(entry);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}))
}

/// `apidiscovery.k8s.io` APIGroupDiscoveryList: all of the above in one document; both versions have the same fields.
fn aggregated(registry: &Registry, core: bool, version: &str) -> Value {
    let groups = if core { vec![(String::new(), vec!["v1".to_owned()])] } else { group_versions(registry) };
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = in_version(registry, group, version)
                        .iter()
                        .map(|descriptor| aggregated_resource(descriptor, version))
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let api_version = format!("apidiscovery.k8s.io/{version}");
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items})
}

fn aggregated_resource(descriptor: &ResourceDescriptor, version: &str) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let own = kind(&descriptor.group, version, &descriptor.kind);
    let scope = match descriptor.scope {
        Scope::Cluster => "Cluster",
        Scope::Namespaced => "Namespaced",
    };
    let mut resource = json!({
        "resource": descriptor.resource, "responseKind": own, "scope": scope, "singularResource": descriptor.singular,
        "verbs": verbs(descriptor.verbs),
    });
    if !descriptor.short_names.is_empty() {
        resource["shortNames"] = json!(descriptor.short_names);
    }
    if !descriptor.categories.is_empty() {
        resource["categories"] = json!(descriptor.categories);
    }
    let subresources: Vec<Value> = descriptor
        .subresources
        .iter()
        .map(|subresource| {
            let answers = subresource.kind.as_ref().map_or_else(|| own.clone(), |k| kind(&k.group, &k.version, &k.kind));
            json!({"subresource": subresource.name, "responseKind": answers, "verbs": verbs(subresource.verbs)})
        })
        .collect();
    if !subresources.is_empty() {
        resource["subresources"] = json!(subresources);
    }
    resource
}
