//! What is served, as the aggregated form of discovery tells it (`apidiscovery.k8s.io/v2`).

use mizzen_api::{GroupVersion, GroupVersionResource, Scope, Verb};
use serde_json::Value;

/// All resources that are served, this server's and those of servers behind an APIService.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    pub resources: Vec<ServedResource>,
    /// Group versions whose server does not answer: nobody knows what they have.
    pub failed: Vec<GroupVersion>,
}

/// A resource in one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedResource {
    pub resource: GroupVersionResource,
    pub kind: String,
    pub scope: Scope,
    /// Those that [`Verb`] knows.
    pub verbs: Vec<Verb>,
    /// Of all versions of a resource, one is.
    pub is_preferred: bool,
}

impl ServedResource {
    pub fn takes(&self, verbs: &[Verb]) -> bool {
        verbs.iter().all(|verb| self.verbs.contains(verb))
    }
}

const VERBS: [Verb; 8] =
    [Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Update, Verb::Patch, Verb::Delete, Verb::DeleteCollection];

impl Discovery {
    /// What the documents of `/api` and `/apis` say. What is missing in one is taken for nothing.
    pub fn of_aggregated<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut discovery = Self::default();
        for group in documents.into_iter().flat_map(|document| list(&document["items"])) {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            let begin = discovery.resources.len();
            for version in list(&group["versions"]) {
                let of = version["version"].as_str().unwrap_or_default();
                if version["freshness"] == "Stale" {
                    discovery.failed.push(GroupVersion::new(name, of));
                    continue;
                }
                for entry in list(&version["resources"]) {
                    let plural = entry["resource"].as_str().unwrap_or_default();
                    // The first version that has it is the preferred one.
                    let is_preferred = !discovery.resources[begin..].iter().any(|known| *known.resource.resource == *plural);
                    let takes = |verb: &Verb| list(&entry["verbs"]).iter().any(|known| known == verb.as_str());
                    discovery.resources.push(ServedResource {
                        resource: GroupVersionResource::new(name, of, plural),
                        kind: entry["responseKind"]["kind"].as_str().unwrap_or_default().to_owned(),
                        scope: if entry["scope"] == "Namespaced" { Scope::Namespaced } else { Scope::Cluster },
                        verbs: VERBS.iter().copied().filter(takes).collect(),
                        is_preferred,
                    });
                }
            }
        }
        discovery
    }

    /// Each resource once, whatever its versions.
    pub fn preferred(&self) -> impl Iterator<Item = &ServedResource> {
        self.resources.iter().filter(|resource| resource.is_preferred)
    }

    pub fn by_kind(&self, version: &GroupVersion, kind: &str) -> Option<&ServedResource> {
        let is_it = |known: &&ServedResource| {
            known.resource.group == version.group && known.resource.version == version.version && known.kind == kind
        };
        self.resources.iter().find(is_it)
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn resources_are_known_by_their_versions_and_a_stale_version_is_a_failure() {
        let resource = |kind: &str, verbs: Value| json!({"resource": "things", "scope": "Namespaced", "verbs": verbs, "responseKind": {"kind": kind}});
        let document = json!({"items": [
            {"metadata": {"name": "a.example.com"}, "versions": [
                {"version": "v2", "freshness": "Current", "resources": [resource("Thing", json!(["get", "list", "bless"]))]},
                {"version": "v1", "freshness": "Current", "resources": [resource("Thing", json!(["get"]))]}]},
            {"metadata": {"name": "b.example.com"}, "versions": [
                {"version": "v1", "freshness": "Stale", "resources": [resource("Other", json!([]))]}]}]});
        let discovery = Discovery::of_aggregated([&document]);
        let preferred: Vec<_> = discovery.preferred().map(|known| known.resource.clone()).collect();
        assert_eq!(preferred, [GroupVersionResource::new("a.example.com", "v2", "things")]);
        let old = discovery.by_kind(&GroupVersion::parse("a.example.com/v1"), "Thing").expect("is served");
        assert!(!old.is_preferred && old.takes(&[Verb::Get]) && !old.takes(&[Verb::List]));
        assert_eq!(discovery.failed, [GroupVersion::parse("b.example.com/v1")]);
        assert_eq!(discovery.by_kind(&GroupVersion::parse("b.example.com/v1"), "Other"), None);
    }
}
