//! From what a user types (`po`, `pods`, `Pod`, `deployments.apps`) to what the API calls it.

use anyhow::bail;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::Client;

/// A resource as the server lists it.
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

    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// Everything that the server serves, in the preferred versions.
///
/// # Errors
/// When discovery fails.
pub async fn discover(client: &Client) -> anyhow::Result<Vec<(Resource, Vec<String>)>> {
    let mut found = Vec::new();
    let core = client.list_core_api_resources("v1").await?;
    found.extend(core.resources.iter().filter_map(|resource| listed("", "v1", resource)));
    for group in client.list_api_groups().await?.groups {
        let Some(version) = group.preferred_version.or_else(|| group.versions.first().cloned()) else { continue };
        let list = client.list_api_group_resources(&version.group_version).await?;
        found.extend(list.resources.iter().filter_map(|resource| listed(&group.name, &version.version, resource)));
    }
    Ok(found)
}

/// The resource with the names that users may call it; `None` for a subresource.
fn listed(group: &str, version: &str, resource: &APIResource) -> Option<(Resource, Vec<String>)> {
    if resource.name.contains('/') {
        return None;
    }
    let mut names = vec![resource.name.clone(), resource.singular_name.clone(), resource.kind.to_lowercase()];
    names.extend(resource.short_names.iter().flatten().cloned());
    let resource = Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: resource.name.clone(),
        kind: resource.kind.clone(),
        namespaced: resource.namespaced,
    };
    Some((resource, names))
}

/// The resource called `name`, with or without its group behind a dot. The core group goes first.
///
/// # Errors
/// When the server has none of that name.
pub async fn resolve(client: &Client, name: &str) -> anyhow::Result<Resource> {
    pick(&discover(client).await?, name)
}

fn pick(all: &[(Resource, Vec<String>)], name: &str) -> anyhow::Result<Resource> {
    let wanted = name.to_lowercase();
    let (plain, group) = wanted.split_once('.').map_or((wanted.as_str(), None), |(plain, group)| (plain, Some(group)));
    let fits = |resource: &Resource| group.is_none_or(|group| resource.group == group);
    match all.iter().find(|(resource, names)| fits(resource) && names.iter().any(|name| name == plain)) {
        Some((resource, _)) => Ok(resource.clone()),
        None => bail!("the server doesn't have a resource type {name:?}"),
    }
}

/// The resource of a kind.
///
/// # Errors
/// When the server does not serve the kind.
pub async fn of_kind(client: &Client, api_version: &str, kind: &str) -> anyhow::Result<Resource> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let list = match group {
        "" => client.list_core_api_resources(version).await,
        _ => client.list_api_group_resources(api_version).await,
    }?;
    let listed = list.resources.iter().filter_map(|resource| listed(group, version, resource));
    match listed.map(|(resource, _)| resource).find(|resource| resource.kind == kind) {
        Some(resource) => Ok(resource),
        None => bail!("no matches for kind {kind:?} in version {api_version:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(Resource, Vec<String>)> {
        let resource = |group: &str, name: &str, kind: &str, short: &str| {
            let resource = APIResource {
                name: name.to_owned(),
                kind: kind.to_owned(),
                namespaced: true,
                short_names: Some(vec![short.to_owned()]),
                ..APIResource::default()
            };
            listed(group, "v1", &resource).expect("is no subresource")
        };
        vec![
            resource("", "events", "Event", "ev"),
            resource("apps", "deployments", "Deployment", "deploy"),
            resource("events.k8s.io", "events", "Event", "ev"),
        ]
    }

    #[test]
    fn a_resource_answers_to_all_its_names_and_the_core_group_goes_first() {
        for name in ["deploy", "Deployment", "deployments", "deployments.apps"] {
            assert_eq!(pick(&all(), name).expect("finds").path(Some("ns")), "/apis/apps/v1/namespaces/ns/deployments");
        }
        assert_eq!(pick(&all(), "ev").expect("finds").path(None), "/api/v1/events");
        assert_eq!(pick(&all(), "events.events.k8s.io").expect("finds").group, "events.k8s.io");
        assert!(pick(&all(), "nothing").is_err());
    }
}
