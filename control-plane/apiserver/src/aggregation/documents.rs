//! What other API servers say that they serve, fetched before anybody asks for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mizzen_api::api_services::Priority;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::fetch::{self, Document, FetchError};
use super::{Aggregation, Remote, backends};

/// Between two looks at servers that answered, which may come to serve something else.
const EVERY: Duration = Duration::from_secs(60);
/// After the first failure; twice as long after each more.
const RETRY: Duration = Duration::from_millis(500);
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// All that is known of the versions that other servers answer for.
#[derive(Default)]
pub(crate) struct Published {
    pub(crate) versions: Vec<RemoteVersion>,
}

#[derive(Clone, PartialEq)]
pub(crate) struct RemoteVersion {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) priority: Priority,
    /// As the aggregated form of discovery lists them; empty as long as nothing was heard.
    pub(crate) resources: Vec<Value>,
    /// The server did not answer when it was last asked.
    pub(crate) is_stale: bool,
    /// Where its part of OpenAPI v3 is, if it has one: a path with the hash.
    pub(crate) openapi: Option<String>,
    /// The server's document of OpenAPI v2, if it has one: one for all its versions.
    pub(crate) swagger: Option<Arc<Value>>,
}

impl Published {
    pub(crate) fn version(&self, group: &str, version: &str) -> Option<&RemoteVersion> {
        self.versions.iter().find(|known| known.group == group && known.version == version)
    }
}

/// Fetches everything whenever APIServices change, and every minute, until `shutdown`.
pub(super) async fn run(aggregation: Arc<Aggregation>, shutdown: CancellationToken) {
    let mut failures: u32 = 0;
    loop {
        let fetched = tokio::select! {
            () = shutdown.cancelled() => return,
            fetched = fetch_all(&aggregation) => fetched,
        };
        let is_fresh = fetched.iter().all(|version| !version.is_stale);
        if fetched != aggregation.published.load().versions {
            aggregation.published.store(Arc::new(Published { versions: fetched }));
        }
        failures = if is_fresh { 0 } else { failures + 1 };
        let wait = if is_fresh { EVERY } else { RETRY.saturating_mul(1 << failures.min(7)).min(EVERY) };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = aggregation.outdated.notified() => failures = 0,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What one server says of all its versions.
struct Said {
    authority: String,
    /// `None` of servers older than the aggregated form.
    discovery: Option<Arc<Document>>,
    /// Of OpenAPI v3, `None` of servers without it.
    index: Option<Arc<Document>>,
    swagger: Option<Arc<Document>>,
}

/// Asks every server once, however many versions it has.
async fn fetch_all(aggregation: &Aggregation) -> Vec<RemoteVersion> {
    let (remotes, before) = (aggregation.remotes.load_full(), aggregation.published.load_full());
    let available: Vec<Arc<Remote>> = remotes.iter().filter(|remote| remote.is_available).cloned().collect();
    let asked = backends(&available).into_iter().map(|backend| async { (backend.clone(), ask(backend).await) });
    let said = futures::future::join_all(asked).await;
    let described = remotes.iter().map(|remote| {
        let of = |(backend, _): &&(Arc<Backend>, _)| Arc::ptr_eq(backend, &remote.backend);
        let said = said.iter().filter(|_| remote.is_available).find(of).map(|(_, said)| said.as_ref());
        describe(remote, said, before.version(&remote.group, &remote.version))
    });
    futures::future::join_all(described).await
}

async fn ask(backend: &Backend) -> Result<Said, FetchError> {
    let authority = backend.authority().map_err(FetchError::Resolve)?;
    let discovery = match fetch::document(backend, &authority, "/apis", AGGREGATED).await {
        Ok(document) => Some(document).filter(|document| is_aggregated(&document.content_type)),
        // Servers older than the aggregated form may have no such path.
        Err(FetchError::Code { code, .. }) if code != 503 => None,
        Err(error) => return Err(error),
    };
    // A server that lacks one of these, or does not answer for it: its other documents are of use without it.
    let optional = async |path: &str| {
        let document = fetch::document(backend, &authority, path, "application/json").await;
        document.inspect_err(|error| tracing::debug!(%error, "fetch an OpenAPI document")).ok()
    };
    let (index, swagger) = tokio::join!(optional("/openapi/v3"), optional("/openapi/v2"));
    Ok(Said { authority, discovery, index, swagger })
}

/// What a server says of one version now, or said before if it does not answer. `said` is `None` for one that is not available.
async fn describe(remote: &Remote, said: Option<Result<&Said, &FetchError>>, before: Option<&RemoteVersion>) -> RemoteVersion {
    let (group, version, priority) = (remote.group.clone(), remote.version.clone(), remote.priority);
    let known = match said {
        Some(Ok(said)) => resources(remote, said).await.map(|resources| (said, resources)).map_err(|error| error.to_string()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(FetchError::Unavailable.to_string()),
    };
    match known {
        Ok((said, resources)) => {
            let openapi = said.index.as_ref().and_then(|index| openapi(remote, &index.value));
            let swagger = said.swagger.as_ref().map(|document| document.value.clone());
            RemoteVersion { group, version, priority, resources, is_stale: false, openapi, swagger }
        }
        Err(error) => {
            tracing::debug!(api_service = remote.name, error, "fetch the discovery document");
            let known = before.map(|before| (before.resources.clone(), before.openapi.clone(), before.swagger.clone()));
            let (resources, openapi, swagger) = known.unwrap_or_default();
            RemoteVersion { group, version, priority, resources, is_stale: true, openapi, swagger }
        }
    }
}

async fn resources(remote: &Remote, said: &Said) -> Result<Vec<Value>, FetchError> {
    if let Some(discovery) = &said.discovery {
        return Ok(of_aggregated(&discovery.value, &remote.group, &remote.version));
    }
    let plain = fetch::document(&remote.backend, &said.authority, &remote.path(), "application/json").await?;
    Ok(of_plain(&plain.value))
}

/// Where the index of OpenAPI v3 has a version; nothing but its own document may be named.
fn openapi(remote: &Remote, index: &Value) -> Option<String> {
    let path = remote.path();
    let url = index["paths"][path.trim_start_matches('/')]["serverRelativeURL"].as_str()?;
    url.strip_prefix("/openapi/v3")?.strip_prefix(path.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('?'))?;
    Some(url.to_owned())
}

fn is_aggregated(content_type: &str) -> bool {
    let has = |wanted: &str| content_type.split(';').any(|part| part.trim() == wanted);
    has("g=apidiscovery.k8s.io") && has("v=v2") && has("as=APIGroupDiscoveryList")
}

fn of_aggregated(list: &Value, group: &str, version: &str) -> Vec<Value> {
    let items = list["items"].as_array().into_iter().flatten();
    let versions = items
        .filter(|item| item["metadata"]["name"].as_str().unwrap_or_default() == group)
        .flat_map(|item| item["versions"].as_array().into_iter().flatten());
    let found = versions.into_iter().find(|known| known["version"] == version);
    let mut resources = found.and_then(|found| found["resources"].as_array().cloned()).unwrap_or_default();
    for resource in resources.iter_mut().filter(|resource| resource.is_object()) {
        with_response_kind(resource);
        let subresources = resource.get_mut("subresources").and_then(Value::as_array_mut).into_iter().flatten();
        subresources.filter(|subresource| subresource.is_object()).for_each(with_response_kind);
    }
    resources
}

/// Some releases of client-go do not stand its absence.
fn with_response_kind(resource: &mut Value) {
    if resource["responseKind"].is_null() {
        resource["responseKind"] = json!({"group": "", "version": "", "kind": ""});
    }
}

/// An `APIResourceList` as the aggregated form has it.
fn of_plain(list: &Value) -> Vec<Value> {
    let mut resources: Vec<Value> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for entry in list["resources"].as_array().into_iter().flatten() {
        let name = entry["name"].as_str().unwrap_or_default();
        let (parent, subresource) = name.split_once('/').map_or((name, None), |(parent, sub)| (parent, Some(sub)));
        if parent.is_empty() {
            continue;
        }
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let kind = json!({"group": text("group"), "version": text("version"), "kind": text("kind")});
        let index = *places.entry(parent).or_insert_with(|| {
            let scope = if entry["namespaced"] == true { "Namespaced" } else { "Cluster" };
            resources.push(json!({"resource": parent, "scope": scope, "singularResource": "", "verbs": [],
                "responseKind": {"group": "", "version": "", "kind": ""}}));
            resources.len() - 1
        });
        let verbs = entry["verbs"].as_array().cloned().unwrap_or_default();
        let resource = &mut resources[index];
        match subresource {
            Some(subresource) => {
                let own = json!({"subresource": subresource, "responseKind": kind, "verbs": verbs});
                match resource.get_mut("subresources").and_then(Value::as_array_mut) {
                    Some(subresources) => subresources.push(own),
                    None => resource["subresources"] = json!([own]),
                }
            }
            None => {
                resource["responseKind"] = kind;
                resource["verbs"] = verbs.into();
                resource["singularResource"] = text("singularName").into();
                for field in ["shortNames", "categories"] {
                    if entry[field].is_array() {
                        resource[field] = entry[field].clone();
                    }
                }
            }
        }
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_list_becomes_what_the_aggregated_form_says() {
        let list = json!({"kind": "APIResourceList", "resources": [
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get", "list"],
                "shortNames": ["fl"]},
            {"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder", "verbs": ["get"]},
            {"name": "lone/scale", "singularName": "", "namespaced": false, "group": "autoscaling", "version": "v1",
                "kind": "Scale", "verbs": ["get"]},
        ]});
        let resources = of_plain(&list);
        assert_eq!(
            resources[0],
            json!({"resource": "flunders", "scope": "Namespaced", "singularResource": "flunder",
            "verbs": ["get", "list"], "shortNames": ["fl"], "responseKind": {"group": "", "version": "", "kind": "Flunder"},
            "subresources": [{"subresource": "status", "verbs": ["get"],
                "responseKind": {"group": "", "version": "", "kind": "Flunder"}}]})
        );
        assert_eq!((&resources[1]["resource"], &resources[1]["scope"]), (&json!("lone"), &json!("Cluster")));
        assert_eq!(resources[1]["subresources"][0]["responseKind"]["group"], "autoscaling");
    }

    #[test]
    fn of_the_aggregated_form_only_the_own_version_is_taken() {
        let list = json!({"items": [{"metadata": {"name": "a.example.com"}, "versions": [
            {"version": "v1", "resources": [{"resource": "things", "subresources": [{"subresource": "status"}]}]},
            {"version": "v2", "resources": []}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [{"resource": "deployments"}]}]}]});
        let resources = of_aggregated(&list, "a.example.com", "v1");
        assert_eq!(resources.len(), 1);
        assert_eq!(resources[0]["responseKind"], json!({"group": "", "version": "", "kind": ""}));
        assert!(resources[0]["subresources"][0]["responseKind"].is_object());
        assert_eq!(of_aggregated(&list, "a.example.com", "v3"), Vec::<Value>::new());
    }

    #[test]
    fn the_form_of_an_answer_is_told_by_its_type() {
        assert!(is_aggregated("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"));
        assert!(!is_aggregated("application/json; charset=utf-8"));
        assert!(!is_aggregated("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"));
    }
}
