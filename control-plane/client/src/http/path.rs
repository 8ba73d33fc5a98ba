//! Paths and query parameters of requests.

use mizzen_api::GroupVersionResource;

use crate::{ListOptions, WatchOptions, WriteOptions};

pub(super) fn collection(resource: &GroupVersionResource, namespace: &str) -> String {
    let root = match &*resource.group {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    match namespace {
        "" => format!("{root}/{}", resource.resource),
        _ => format!("{root}/namespaces/{namespace}/{}", resource.resource),
    }
}

pub(super) fn object(resource: &GroupVersionResource, namespace: &str, name: &str, subresource: &str) -> String {
    // A name may hold what means something in a path (RBAC names have colons; a percent sign would be decoded).
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let path = format!("{}/{name}", collection(resource, namespace));
    if subresource.is_empty() { path } else { format!("{path}/{subresource}") }
}

type Query = Vec<(&'static str, String)>;

fn add(query: &mut Query, key: &'static str, value: &str) {
    if !value.is_empty() {
        query.push((key, value.to_owned()));
    }
}

pub(super) fn list_query(options: &ListOptions) -> Query {
    let mut query = Query::new();
    add(&mut query, "labelSelector", &options.label_selector);
    add(&mut query, "fieldSelector", &options.field_selector);
    add(&mut query, "continue", &options.continue_token);
    add(&mut query, "resourceVersion", &options.resource_version);
    add(&mut query, "resourceVersionMatch", &options.resource_version_match);
    if options.limit > 0 {
        query.push(("limit", options.limit.to_string()));
    }
    query
}

pub(super) fn watch_query(options: &WatchOptions) -> Query {
    let mut query = vec![("watch", "true".to_owned())];
    add(&mut query, "labelSelector", &options.label_selector);
    add(&mut query, "fieldSelector", &options.field_selector);
    add(&mut query, "resourceVersion", &options.resource_version);
    add(&mut query, "resourceVersionMatch", &options.resource_version_match);
    if options.allow_bookmarks {
        query.push(("allowWatchBookmarks", "true".to_owned()));
    }
    if let Some(send) = options.send_initial_events {
        query.push(("sendInitialEvents", send.to_string()));
    }
    if let Some(seconds) = options.timeout_seconds {
        query.push(("timeoutSeconds", seconds.to_string()));
    }
    query
}

pub(super) fn write_query(options: &WriteOptions) -> Query {
    let mut query = Query::new();
    add(&mut query, "fieldManager", &options.field_manager);
    add(&mut query, "fieldValidation", &options.field_validation);
    if options.dry_run {
        query.push(("dryRun", "All".to_owned()));
    }
    if options.force {
        query.push(("force", "true".to_owned()));
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_the_api_has_them() {
        let pods = GroupVersionResource::new("", "v1", "pods");
        let roles = GroupVersionResource::new("rbac.authorization.k8s.io", "v1", "clusterroles");
        assert_eq!(object(&pods, "ns", "a", "log"), "/api/v1/namespaces/ns/pods/a/log");
        assert_eq!(collection(&pods, ""), "/api/v1/pods");
        assert_eq!(object(&roles, "", "system:node", ""), "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode");
    }
}
