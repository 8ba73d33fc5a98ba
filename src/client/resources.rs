//! From what a user types (`po`, `pods`, `Pod`, `deployments.apps`, `all`) to what the API calls it.

use anyhow::bail;
use kube::Client;

/// A resource as the server serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
}

impl Resource {
    /// The path of the collection, or of all namespaces when `namespace` is `None`.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{}", self.plural),
            None => format!("{root}/{}", self.plural),
        }
    }

    /// `pod`, `deployment.apps`: how one object of it is called.
    pub fn one(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() { kind } else { format!("{kind}.{}", self.group) }
    }
}

struct Known {
    resource: Resource,
    names: Vec<String>,
    categories: Vec<String>,
}

/// Everything that the server serves: the core group first, versions in the order of preference.
pub struct Catalogue(Vec<Known>);

impl Catalogue {
    /// # Errors
    /// When the server cannot be asked.
    pub async fn discover(client: &Client) -> anyhow::Result<Self> {
        let (core, groups) = tokio::try_join!(client.list_core_api_versions_aggregated(), client.list_api_groups_aggregated())?;
        let mut known = Vec::new();
        for group in core.items.into_iter().chain(groups.items) {
            let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
            for version in group.versions {
                let version_name = version.version.unwrap_or_default();
                for resource in version.resources {
                    let plural = resource.resource.unwrap_or_default();
                    let kind = resource.response_kind.and_then(|response| response.kind).unwrap_or_default();
                    let mut names = vec![plural.clone(), resource.singular_resource.unwrap_or_default(), kind.to_lowercase()];
                    names.extend(resource.short_names);
                    known.push(Known {
                        resource: Resource {
                            group: name.clone(),
                            version: version_name.clone(),
                            plural,
                            kind,
                            namespaced: resource.scope.as_deref() == Some("Namespaced"),
                        },
                        names,
                        categories: resource.categories,
                    });
                }
            }
        }
        Ok(Self(known))
    }

    /// The resource called `name`, with or without its group or version and group behind a dot; of a category such as `all`,
    /// every resource. The core group goes first.
    ///
    /// # Errors
    /// When the server has none of that name.
    pub fn resolve(&self, name: &str) -> anyhow::Result<Vec<Resource>> {
        let wanted = name.to_lowercase();
        let (plain, of) = wanted.split_once('.').map_or((wanted.as_str(), None), |(plain, of)| (plain, Some(of)));
        let fits = |resource: &Resource| {
            of.is_none_or(|of| {
                of == resource.group
                    || of.strip_prefix(&resource.version).is_some_and(|of| of.strip_prefix('.').unwrap_or(of) == resource.group)
            })
        };
        if let Some(known) = self.0.iter().find(|known| fits(&known.resource) && known.names.iter().any(|name| name == plain)) {
            return Ok(vec![known.resource.clone()]);
        }
        let mut members: Vec<Resource> = Vec::new();
        for known in self.0.iter().filter(|known| of.is_none() && known.categories.iter().any(|category| category == plain)) {
            // One version of each.
            if !members.iter().any(|member| (&member.group, &member.plural) == (&known.resource.group, &known.resource.plural)) {
                members.push(known.resource.clone());
            }
        }
        if members.is_empty() {
            bail!("the server doesn't have a resource type {name:?}");
        }
        Ok(members)
    }

    /// The resource of a kind; `None` when the server does not serve it.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let of = |resource: &&Resource| resource.group == group && resource.version == version && resource.kind == kind;
        self.0.iter().map(|known| &known.resource).find(of)
    }

    #[cfg(test)]
    pub fn of(known: &[(&str, &str, &str, &str, &str)]) -> Self {
        let known = known.iter().map(|(group, version, plural, kind, other)| Known {
            resource: Resource {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
                plural: (*plural).to_owned(),
                kind: (*kind).to_owned(),
                namespaced: true,
            },
            names: vec![(*plural).to_owned(), kind.to_lowercase(), (*other).to_owned()],
            categories: vec!["all".to_owned()],
        });
        Self(known.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::of(&[
            ("", "v1", "events", "Event", "ev"),
            ("apps", "v1", "deployments", "Deployment", "deploy"),
            ("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa"),
            ("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa"),
            ("events.k8s.io", "v1", "events", "Event", "ev"),
        ])
    }

    fn one(name: &str) -> Resource {
        catalogue().resolve(name).expect("finds").remove(0)
    }

    #[test]
    fn a_resource_answers_to_all_its_names_and_the_core_group_goes_first() {
        for name in ["deploy", "Deployment", "deployments", "deployments.apps", "deployment.v1.apps"] {
            assert_eq!(one(name).path(Some("ns")), "/apis/apps/v1/namespaces/ns/deployments");
        }
        assert_eq!(one("ev").path(None), "/api/v1/events");
        assert_eq!(one("events.v1.").group, "");
        assert_eq!(one("events.events.k8s.io").group, "events.k8s.io");
        assert_eq!((one("hpa").version, one("hpa.v1.autoscaling").version), ("v2".to_owned(), "v1".to_owned()));
        let said = catalogue().resolve("nothing").expect_err("is none").to_string();
        assert_eq!(said, "the server doesn't have a resource type \"nothing\"");
    }

    #[test]
    fn a_category_is_each_of_its_resources_once() {
        let names: Vec<String> = catalogue().resolve("all").expect("finds").iter().map(Resource::one).collect();
        assert_eq!(names, ["event", "deployment.apps", "horizontalpodautoscaler.autoscaling", "event.events.k8s.io"]);
    }

    #[test]
    fn a_kind_is_found_in_its_version_only() {
        let found = |api_version| catalogue().of_kind(api_version, "HorizontalPodAutoscaler").map(|found| found.version.clone());
        assert_eq!((found("autoscaling/v1"), found("autoscaling/v3")), (Some("v1".to_owned()), None));
    }
}
