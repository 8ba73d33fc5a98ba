//! What a request asks for: as metrics count it, as authorization and flow schemas see it.

use axum::body::Body;
use http::header::{CONTENT_TYPE, UPGRADE};
use http::{Method, Request, Uri};
use mizzen_api::{Registry, tunnel};

use super::params::Params;
use super::path::{Path, ResourcePath};
use crate::auth::Action;
use crate::connect;
use crate::metrics::Asked;
use crate::proxy;

/// What the metrics say of a request; `is_remote` says that another server answers it.
pub(super) fn asked<'a>(registry: &Registry, is_remote: bool, path: &'a Path, request: &Request<Body>) -> Asked<'a> {
    let query = request.uri().query().unwrap_or_default();
    let Path::Resource(path) = path else {
        return Asked { verb: verb_of_method(request.method()), ..Asked::default() };
    };
    if !is_remote && registry.by_resource(&path.group, &path.version, &path.resource).is_none() {
        return Asked { verb: verb_of_method(request.method()), ..Asked::default() };
    }
    let collection = path.name.is_empty();
    // As it is read when it is answered, here or by another server: authorization goes by this. Names may be encoded, too.
    let may_say = || query.contains("watch") || query.contains('%');
    let watch = || path.watch || (may_say() && Params::parse(query).flag("watch").unwrap_or(false));
    let apply = || request.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/apply"));
    let verb = match *request.method() {
        _ if is_connect(path) || is_proxy(path) => "CONNECT",
        Method::GET | Method::HEAD if watch() && path.subresource.is_empty() => "WATCH",
        // What another server makes of it lasts as long as both sides like.
        _ if is_remote && request.headers().contains_key(UPGRADE) => "CONNECT",
        Method::GET | Method::HEAD if collection => "LIST",
        Method::DELETE if collection => "DELETECOLLECTION",
        Method::PATCH if apply() => "APPLY",
        ref method => verb_of_method(method),
    };
    let scope = match (collection, path.namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    };
    Asked {
        verb,
        group: &path.group,
        version: &path.version,
        // What another server has is not known here.
        resource: if is_remote { "" } else { &path.resource },
        // Whatever a client writes there must not become a series of its own.
        subresource: KNOWN_SUBRESOURCES.iter().find(|known| **known == path.subresource).copied().unwrap_or_default(),
        scope,
        dry_run: query.contains("dryRun=All"),
    }
}

/// What a request is, as flow schemas see it. `method` is in lower case.
pub(super) fn action<'a>(path: &'a Path, asked: &Asked<'_>, uri: &'a Uri, method: &'a str) -> Action<'a> {
    let Path::Resource(path) = path else {
        return Action::Path { verb: method, path: uri.path() };
    };
    let collection = path.name.is_empty();
    let verb = match method {
        "get" | "head" if asked.verb == "WATCH" => "watch",
        "get" | "head" if collection => "list",
        "get" | "head" => "get",
        "post" => "create",
        "put" => "update",
        "delete" if collection => "deletecollection",
        other => other,
    };
    Action::Resource {
        verb,
        group: &path.group,
        resource: &path.resource,
        subresource: &path.subresource,
        namespace: &path.namespace,
        name: &path.name,
    }
}

/// Whether a watch begins with all objects that there are.
pub(super) fn lists_first(uri: &Uri) -> bool {
    let params = Params::parse(uri.query().unwrap_or_default());
    params.flag("sendInitialEvents").unwrap_or(false) || matches!(params.get("resourceVersion"), None | Some("" | "0"))
}

/// How many objects a list may have; 0 for all.
pub(super) fn limit(uri: &Uri) -> u64 {
    let params = Params::parse(uri.query().unwrap_or_default());
    params.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or_default()
}

pub(super) fn is_proxy(path: &ResourcePath) -> bool {
    path.group.is_empty()
        && path.version == "v1"
        && path.subresource == "proxy"
        && proxy::RESOURCES.contains(&path.resource.as_str())
}

pub(super) fn is_connect(path: &ResourcePath) -> bool {
    path.group.is_empty() && path.resource == "pods" && connect::SUBRESOURCES.contains(&path.subresource.as_str())
}

/// Whether a node asks for its tunnel, which is no resource: discovery does not know of it.
pub(super) fn is_tunnel(path: &ResourcePath) -> bool {
    let ResourcePath { group, version, resource, subresource, .. } = path;
    (group.as_str(), version.as_str(), resource.as_str(), subresource.as_str())
        == (tunnel::GROUP, tunnel::VERSION, tunnel::RESOURCE, tunnel::SUBRESOURCE)
}

fn verb_of_method(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// Those that get a series of their own.
const KNOWN_SUBRESOURCES: &[&str] = &[
    "approval",
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "finalize",
    "log",
    "portforward",
    "proxy",
    "resize",
    "scale",
    "status",
    "token",
];

#[cfg(test)]
mod tests {
    use super::super::path;
    use super::*;

    #[test]
    fn a_watch_is_one_however_its_name_is_written() {
        let verb = |uri: &str| {
            let request = Request::get(uri).body(Body::empty()).expect("a request");
            let path = path::parse(request.uri().path());
            asked(&Registry::builtin(), false, &path, &request).verb.to_owned()
        };
        for uri in ["/api/v1/pods?watch", "/api/v1/pods?limit=5&watch=true", "/api/v1/pods?w%61tch=1"] {
            assert_eq!(verb(uri), "WATCH", "{uri}");
        }
        for uri in ["/api/v1/pods", "/api/v1/pods?watch=false", "/api/v1/pods?labelSelector=a%3Dwatch"] {
            assert_eq!(verb(uri), "LIST", "{uri}");
        }
    }
}
