//! Which groups, versions and resources there are, in the plain and in the aggregated form.

use std::sync::Arc;

use bytes::Bytes;
use mizzen_api::api_services::{self, Priority};
use mizzen_api::registry::Snapshot;
use mizzen_api::{Registry, ResourceDescriptor, Scope, Verb};
use mizzen_extensions::versions::by_priority;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use crate::aggregation::{Aggregation, Published, RemoteVersion};

/// The aggregated documents of one state of the registry and of other servers, made when they are first asked for.
pub(crate) struct Discovery {
    registry: Arc<Registry>,
    aggregation: Arc<Aggregation>,
    made: Mutex<Option<Made>>,
}

struct Made {
    /// Of which registry, and of what other servers serve.
    snapshot: Arc<Snapshot>,
    published: Arc<Published>,
    documents: Vec<Document>,
    served: Option<Arc<mizzen_client::Discovery>>,
}

struct Document {
    core: bool,
    version: &'static str,
    json: Bytes,
    hash: String,
}

impl Discovery {
    pub(crate) fn new(registry: Arc<Registry>, aggregation: Arc<Aggregation>) -> Self {
        Self { registry, aggregation, made: Mutex::new(None) }
    }

    /// The document for `/api` (`core`) or `/apis` in a version of `apidiscovery.k8s.io`, and its hash.
    pub(crate) fn aggregated(&self, core: bool, version: &'static str) -> (Bytes, String) {
        let mut made = self.made.lock();
        let made = self.present(&mut made);
        if let Some(known) = made.documents.iter().find(|known| known.core == core && known.version == version) {
            return (known.json.clone(), known.hash.clone());
        }
        let json = Bytes::from(aggregated(&self.registry, &made.published, core, version).to_string());
        let hash = hex::encode_upper(Sha512::digest(&json));
        made.documents.push(Document { core, version, json: json.clone(), hash: hash.clone() });
        (json, hash)
    }

    /// The same for components of this process. The same pointer means the same content.
    pub(crate) fn served(&self) -> Arc<mizzen_client::Discovery> {
        let mut made = self.made.lock();
        let made = self.present(&mut made);
        let fresh = || {
            let documents = [true, false].map(|core| aggregated(&self.registry, &made.published, core, "v2"));
            Arc::new(mizzen_client::Discovery::of_aggregated(&documents))
        };
        let served = made.served.get_or_insert_with(fresh).clone();
        let unheard = self.aggregation.unheard(&made.published);
        if unheard.is_empty() {
            return served;
        }
        let mut served = (*served).clone();
        served.failed.extend(unheard);
        Arc::new(served)
    }

    fn present<'a>(&self, made: &'a mut Option<Made>) -> &'a mut Made {
        let (snapshot, published) = (self.registry.snapshot(), self.aggregation.published());
        let is_present = |made: &Made| Arc::ptr_eq(&made.snapshot, &snapshot) && Arc::ptr_eq(&made.published, &published);
        if !made.as_ref().is_some_and(is_present) {
            *made = None;
        }
        made.get_or_insert_with(|| Made { snapshot, published, documents: Vec::new(), served: None })
    }
}

/// `/api`.
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "apiVersion": "v1", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// A group that somebody serves.
struct Group {
    name: String,
    /// The preferred one first.
    versions: Vec<Version>,
}

struct Version {
    name: String,
    priority: Priority,
    /// Another server answers for it.
    is_remote: bool,
}

impl Group {
    fn priority(&self) -> i64 {
        self.versions.iter().map(|version| version.priority.group).max().unwrap_or_default()
    }
}

/// All groups but the core in the order of their priority. A version that another server claims is that server's.
fn groups_of(registry: &Registry, published: &Published) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut add = |group: &str, version: &str, priority: Priority, is_remote: bool| {
        let index = groups.iter().position(|known| known.name == group).unwrap_or_else(|| {
            groups.push(Group { name: group.to_owned(), versions: Vec::new() });
            groups.len() - 1
        });
        let versions = &mut groups[index].versions;
        if !versions.iter().any(|known| known.name == version) {
            versions.push(Version { name: version.to_owned(), priority, is_remote });
        }
    };
    for remote in published.versions.iter().filter(|remote| !remote.group.is_empty()) {
        add(&remote.group, &remote.version, remote.priority, true);
    }
    for descriptor in registry.iter().filter(|descriptor| !descriptor.group.is_empty()) {
        for version in &descriptor.versions {
            add(&descriptor.group, version, api_services::priority(&descriptor.group, version), false);
        }
    }
    for group in &mut groups {
        group.versions.sort_by(|left, right| {
            right.priority.version.cmp(&left.priority.version).then_with(|| by_priority(&left.name, &right.name))
        });
    }
    groups.sort_by(|left, right| right.priority().cmp(&left.priority()).then_with(|| left.name.cmp(&right.name)));
    groups
}

fn group_value(group: &Group) -> Value {
    let named: Vec<Value> = group
        .versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{}/{}", group.name, version.name), "version": version.name}))
        .collect();
    json!({"name": group.name, "versions": named, "preferredVersion": named.first()})
}

/// `/apis`.
pub(crate) fn groups(registry: &Registry, published: &Published) -> Value {
    let groups: Vec<Value> = groups_of(registry, published).iter().map(group_value).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/G`.
pub(crate) fn group(registry: &Registry, published: &Published, group: &str) -> Option<Value> {
    let found = groups_of(registry, published).into_iter().find(|known| known.name == group)?;
    let mut value = group_value(&found);
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
fn aggregated(registry: &Registry, published: &Published, core: bool, version: &str) -> Value {
    let groups = match core {
        true => {
            let version = Version { name: "v1".to_owned(), priority: api_services::priority("", "v1"), is_remote: false };
            vec![Group { name: String::new(), versions: vec![version] }]
        }
        false => groups_of(registry, published),
    };
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|version| match published.version(&group.name, &version.name).filter(|_| version.is_remote) {
                    Some(remote) => aggregated_remote(remote),
                    None => aggregated_own(registry, &group.name, &version.name),
                })
                .collect();
            let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let api_version = format!("apidiscovery.k8s.io/{version}");
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items})
}

fn aggregated_own(registry: &Registry, group: &str, version: &str) -> Value {
    let resources: Vec<Value> =
        in_version(registry, group, version).iter().map(|descriptor| aggregated_resource(descriptor, version)).collect();
    json!({"version": version, "freshness": "Current", "resources": resources})
}

fn aggregated_remote(remote: &RemoteVersion) -> Value {
    let freshness = if remote.is_stale { "Stale" } else { "Current" };
    let mut value = json!({"version": remote.version, "freshness": freshness});
    if !remote.resources.is_empty() {
        value["resources"] = json!(remote.resources);
    }
    value
}

fn aggregated_resource(descriptor: &ResourceDescriptor, version: &str) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    // Of its own kinds Kubernetes names neither group nor version here: they are those of the list.
    let own = match descriptor.custom {
        Some(_) => kind(&descriptor.group, version, &descriptor.kind),
        None => kind("", "", &descriptor.kind),
    };
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
            let answers = subresource.kind.as_ref().map_or_else(
                || own.clone(),
                |k| match k.group == descriptor.group {
                    true => kind("", "", &k.kind),
                    false => kind(&k.group, &k.version, &k.kind),
                },
            );
            json!({"subresource": subresource.name, "responseKind": answers, "verbs": verbs(subresource.verbs)})
        })
        .collect();
    if !subresources.is_empty() {
        resource["subresources"] = json!(subresources);
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(group: &str, version: &str, priority: (i64, i64), is_stale: bool) -> RemoteVersion {
        RemoteVersion {
            group: group.to_owned(),
            version: version.to_owned(),
            priority: Priority { group: priority.0, version: priority.1 },
            resources: vec![json!({"resource": "things"})],
            is_stale,
            openapi: None,
            swagger: None,
        }
    }

    #[test]
    fn groups_come_in_the_order_of_their_priority() {
        let names = |published: &Published| -> Vec<String> {
            groups_of(&Registry::builtin(), published).into_iter().map(|group| group.name).collect()
        };
        let own = names(&Published::default());
        assert_eq!(own[..4], ["apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io"]);
        let versions =
            vec![remote("first.example.com", "v1", (17_900, 1), false), remote("last.example.com", "v1", (1, 1), false)];
        let all = names(&Published { versions });
        assert_eq!((all[1].as_str(), all.last().map(String::as_str)), ("first.example.com", Some("last.example.com")));
    }

    #[test]
    fn what_another_server_claims_is_listed_as_it_says_and_marked_when_it_is_silent() {
        let versions = vec![
            remote("a.example.com", "v1beta1", (1000, 10), true),
            remote("a.example.com", "v1", (1000, 10), false),
            remote("a.example.com", "v2alpha1", (1000, 20), false),
        ];
        let document = aggregated(&Registry::builtin(), &Published { versions }, false, "v2");
        let items = document["items"].as_array().expect("items");
        let group = items.iter().find(|item| item["metadata"]["name"] == "a.example.com").expect("is there");
        let shown: Vec<(&str, &str)> = group["versions"]
            .as_array()
            .expect("versions")
            .iter()
            .filter_map(|version| Some((version["version"].as_str()?, version["freshness"].as_str()?)))
            .collect();
        assert_eq!(shown, [("v2alpha1", "Current"), ("v1", "Current"), ("v1beta1", "Stale")]);
        assert_eq!(group["versions"][2]["resources"][0]["resource"], "things");
    }
}
