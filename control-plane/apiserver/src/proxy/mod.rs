//! The `proxy` subresources of pods, services and nodes: whatever is asked below them goes on to what they name.

mod address;
mod forward;
mod links;
mod pool;
mod trust;

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, StatusCode, header};
use mizzen_api::{GroupResource, Object, Status};
use mizzen_store::Store;
use serde_json::Value;

use crate::connect::Connect;
use crate::lookup;
pub(crate) use address::authority;
pub(crate) use forward::{Tls, keep_what_goes_on, splice, strip};
use links::Links;
pub(crate) use pool::Connections;
pub(crate) use trust::{Shown, anybody, roots};

/// The resources that have a proxy.
pub(crate) const RESOURCES: &[&str] = &["nodes", "pods", "services"];

/// What a request below a proxy names.
pub(crate) struct Place<'a> {
    /// One of [`RESOURCES`].
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
    /// As it stands in the path: with a scheme and a port, where they are given.
    pub(crate) id: &'a str,
}

/// The verb that a request needs the right to; `None` for methods that no proxy takes.
pub(crate) fn verb(method: &Method) -> Option<&'static str> {
    Some(match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        // As Kubernetes names it: only a rule for all verbs allows it.
        Method::OPTIONS => "",
        _ => return None,
    })
}

/// Answers a request that is authorized.
///
/// # Errors
/// When what is named is not there, or is not reached.
pub(crate) async fn answer(
    store: &dyn Store,
    nodes: Option<&Arc<dyn Connect>>,
    place: Place<'_>,
    request: Request<Body>,
) -> Result<Response, Status> {
    let (prefix, rest) = split(request.uri().path());
    if rest.is_empty()
        && !request.headers().contains_key(header::UPGRADE)
        && matches!(*request.method(), Method::GET | Method::HEAD)
    {
        return redirect(&request);
    }
    let path = if rest.is_empty() { "/" } else { rest }.to_owned();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host = host.or_else(|| request.uri().authority().map(ToString::to_string)).unwrap_or_default();
    let links = Links { prefix: prefix.to_owned(), host };
    let id = address::parse(place.resource.trim_end_matches('s'), place.id)?;
    let upstream = match place.resource {
        "pods" => address::of_pod(&found(store, place.resource, place.namespace, id.name)?, id)?,
        "services" => {
            let service = found(store, place.resource, place.namespace, id.name)?;
            let endpoints =
                lookup::core(store, "endpoints", place.namespace, id.name).map(|stored| decoded(&stored)).transpose()?;
            address::of_service(&service, endpoints.as_ref(), id, |count| rand::random::<u32>() as usize % count)?
        }
        _ => {
            let node = found(store, "nodes", "", id.name)?;
            let own = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
            if id.port.is_empty() || own.is_some_and(|own| own.to_string() == id.port) {
                let unserved = || Status::not_found(&GroupResource::new("", "nodes"), id.name);
                return Ok(nodes.ok_or_else(unserved)?.node(id.name, &path, request).await);
            }
            let addresses = node.pointer("/status/addresses").and_then(Value::as_array).into_iter().flatten();
            let internal = addresses.into_iter().find(|address| address["type"] == "InternalIP");
            let ip = internal.and_then(|address| address["address"].as_str()).unwrap_or_default();
            address::Upstream { authority: address::authority(ip, id.port, id.https)?, https: id.https, node: String::new() }
        }
    };
    let tunnelled = match nodes.filter(|_| !upstream.node.is_empty()) {
        Some(nodes) => nodes.reach(&upstream.node, &upstream.authority).await,
        None => None,
    };
    let tunnelled = tunnelled.transpose().map_err(forward::unreachable)?;
    forward::forward(&upstream, tunnelled, &path, &links, request).await
}

fn found(store: &dyn Store, resource: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let absent = || Status::not_found(&GroupResource::new("", resource), name);
    let stored = lookup::core(store, resource, namespace, name).ok_or_else(absent)?;
    decoded(&stored)
}

fn decoded(object: &Object) -> Result<Value, Status> {
    object.value().map_err(|error| Status::internal(format!("decode {object:?}: {error}")))
}

/// The path to the proxy itself, and what is below it, both as they were sent.
pub(crate) fn split(path: &str) -> (&str, &str) {
    let namespaced = path.trim_start_matches('/').split('/').nth(2) == Some("namespaces");
    let segments = if namespaced { 7 } else { 5 };
    // The slash before the first segment is one more.
    let end = path.match_indices('/').nth(segments).map_or(path.len(), |(at, _)| at);
    path.split_at(end)
}

/// A page at a path without a slash at its end could not name its neighbours.
fn redirect(request: &Request<Body>) -> Result<Response, Status> {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    Response::builder()
        .status(StatusCode::MOVED_PERMANENTLY)
        .header(header::LOCATION, format!("{}/{query}", request.uri().path()))
        .body(Body::empty())
        .map_err(Status::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_proxy_stays_as_it_was_sent() {
        for (path, prefix, rest) in [
            ("/api/v1/namespaces/n/pods/p/proxy", "/api/v1/namespaces/n/pods/p/proxy", ""),
            (
                "/api/v1/namespaces/n/services/https:s:443/proxy/a%2Fb//c/",
                "/api/v1/namespaces/n/services/https:s:443/proxy",
                "/a%2Fb//c/",
            ),
            ("/api/v1/nodes/n1/proxy/pods", "/api/v1/nodes/n1/proxy", "/pods"),
        ] {
            assert_eq!(split(path), (prefix, rest));
        }
    }
}
