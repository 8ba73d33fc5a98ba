//! What is no resource: discovery, OpenAPI, version, metrics and the issuer's keys.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HOST, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, Method, Request, StatusCode};
use mizzen_api::Status;
use serde_json::{Value, json};

use super::accept::{self, Format};
use super::handler::Handler;
use super::params::Params;
use super::path::Path;
use super::respond;
use crate::auth::tokens::ISSUER;
use crate::auth::{Action, Identity};
use crate::plugin_metrics::{self, Own};
use crate::{discovery, errors, storage_metrics, version, work_queues};

/// How long a document may be kept whose address has its hash.
const YEAR: i64 = 365 * 24 * 3600;

impl Handler {
    /// Whether the user may read what is no resource.
    pub(super) fn may_read(&self, user: &Identity, request: &Request<Body>) -> Result<(), Status> {
        let verb = request.method().as_str().to_ascii_lowercase();
        self.pipeline.authorize(user, &Action::Path { verb: &verb, path: request.uri().path() })?;
        match *request.method() {
            Method::GET | Method::HEAD => Ok(()),
            _ => Err(errors::method_not_allowed()),
        }
    }

    pub(super) fn document(&self, path: &Path, request: &Request<Body>) -> Result<Response, Status> {
        let text = request.uri().path();
        let headers = request.headers();
        let (registry, published) = (&self.pipeline.registry, self.aggregation.published());
        let value = match path {
            Path::CoreVersions | Path::Groups => match accept::aggregated_discovery(headers) {
                Some(version) => return Ok(self.aggregated(*path == Path::CoreVersions, version, headers)),
                None if *path == Path::CoreVersions => discovery::core_versions(),
                None => discovery::groups(registry, &published),
            },
            Path::Group(group) => discovery::group(registry, &published, group).ok_or_else(errors::no_such_path)?,
            Path::GroupVersion(group, version) => {
                discovery::resources(registry, group, version).ok_or_else(errors::no_such_path)?
            }
            Path::Resource(_) => return Err(errors::no_such_path()),
            Path::Other => return self.other(text.trim_end_matches('/'), request),
        };
        Ok(respond::value(200, &value, accept::for_status(headers).without_protobuf()))
    }

    fn aggregated(&self, core: bool, version: &'static str, headers: &HeaderMap) -> Response {
        let content_type = match version {
            "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        };
        let (json, hash) = self.discovery.aggregated(core, version);
        let mut response = tagged(content_type, json, &hash, headers);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        response
    }

    fn other(&self, path: &str, request: &Request<Body>) -> Result<Response, Status> {
        let params = Params::parse(request.uri().query().unwrap_or_default());
        let headers = request.headers();
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let rest = |parts: &mut std::str::SplitN<'_, char>| parts.next().unwrap_or_default().to_owned();
        match parts.next().unwrap_or_default() {
            "" => Ok(respond::value(200, &json!({"paths": self.paths()}), Format::Json)),
            "version" if rest(&mut parts).is_empty() => Ok(respond::value(200, &version::info(), Format::Json)),
            "metrics" if rest(&mut parts).is_empty() => {
                let mut page = self.metrics.page();
                storage_metrics::report(&mut page, &self.pipeline.registry, &*self.pipeline.store);
                self.fairness.report(&mut page);
                self.pipeline.admission.report(&mut page);
                self.aggregation.report(&mut page);
                if let Some(queues) = &self.work_queues {
                    work_queues::report(&mut page, &queues());
                }
                let mut own = Own::default();
                self.pipeline.admission.dynamic().report(&mut page, &mut own);
                if let Some(plugins) = &self.scheduler_plugins {
                    plugin_metrics::schedulers(&mut page, &**plugins, &mut own);
                }
                own.report(&mut page);
                Ok(respond::bytes(200, "text/plain; version=0.0.4; charset=utf-8", page))
            }
            "debug" => {
                let name = rest(&mut parts);
                let table = name.strip_prefix("api_priority_and_fairness/").and_then(|name| self.fairness.dump(name));
                table.map(|table| respond::text(200, table)).ok_or_else(errors::no_such_path)
            }
            "openapi" => self.openapi(&rest(&mut parts), &params, headers),
            "openid" if rest(&mut parts) == "v1/jwks" => {
                let keys = self.authenticator.keys().ok_or_else(errors::no_such_path)?;
                Ok(kept_for_an_hour("application/jwk-set+json", &keys))
            }
            ".well-known" if rest(&mut parts) == "openid-configuration" => {
                self.authenticator.keys().ok_or_else(errors::no_such_path)?;
                Ok(of_this_host(&issuer(request)))
            }
            _ => Err(errors::no_such_path()),
        }
    }

    fn openapi(&self, path: &str, params: &Params, headers: &HeaderMap) -> Result<Response, Status> {
        match path {
            "v2" => {
                let protobuf = wants_protobuf(headers, "v2");
                let (body, hash) = self.openapi.v2(protobuf, &self.aggregation.published());
                let content_type = match protobuf {
                    true => "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
                    false => "application/json",
                };
                Ok(tagged(content_type, body, &hash, headers))
            }
            "v3" => {
                let (json, hash) = self.openapi.index(&self.aggregation.published());
                Ok(tagged("application/json", json, &hash, headers))
            }
            path => {
                let path = path.strip_prefix("v3/").ok_or_else(errors::no_such_path)?;
                let protobuf = wants_protobuf(headers, "v3");
                let found = self.openapi.document(path, protobuf, &self.aggregation.published());
                let (body, hash) = found.ok_or_else(errors::no_such_path)?;
                let content_type = match protobuf {
                    true => "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
                    false => "application/json",
                };
                let answer = tagged(content_type, body, &hash, headers);
                match params.get("hash") {
                    None | Some("") => Ok(answer),
                    Some(asked) if asked == hash => Ok(kept_for_ever(answer, (self.pipeline.clock)())),
                    Some(_) => Ok(moved(&format!("/openapi/v3/{path}?hash={hash}"))),
                }
            }
        }
    }

    /// What `/` names.
    fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = ["/api", "/api/v1", "/apis", "/.well-known/openid-configuration", "/healthz", "/livez"]
            .into_iter()
            .chain(["/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"])
            .map(str::to_owned)
            .collect();
        for descriptor in self.pipeline.registry.iter().filter(|descriptor| !descriptor.group.is_empty()) {
            paths.push(format!("/apis/{}", descriptor.group));
            paths.extend(descriptor.versions.iter().map(|version| format!("/apis/{}/{version}", descriptor.group)));
        }
        for version in self.aggregation.published().versions.iter().filter(|version| !version.group.is_empty()) {
            paths.push(format!("/apis/{}", version.group));
            paths.push(format!("/apis/{}/{}", version.group, version.version));
        }
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

/// A document with its hash, or only word that the client has it already.
fn tagged(content_type: &'static str, body: Bytes, hash: &str, headers: &HeaderMap) -> Response {
    let tag = format!("\"{hash}\"");
    let known = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|given| given.trim().trim_start_matches("W/") == tag);
    let mut response = match known {
        true => respond::bytes(304, content_type, Body::empty()),
        false => respond::bytes(200, content_type, body),
    };
    if known {
        response.headers_mut().remove(CONTENT_TYPE);
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// What is asked for with its hash can never be something else.
fn kept_for_ever(mut response: Response, now: jiff::Timestamp) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    let expires = now.as_second().checked_add(YEAR).and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()).unwrap_or(now);
    if let Ok(expires) = HeaderValue::from_str(&expires.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()) {
        response.headers_mut().insert(EXPIRES, expires);
    }
    response
}

fn moved(to: &str) -> Response {
    let mut response = respond::text(301, Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// As long as the keys, but for who asked by this name only: a document in a shared cache would lead others there.
fn of_this_host(value: &Value) -> Response {
    let mut response = respond::bytes(200, "application/json", value.to_string());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Host"));
    response
}

fn kept_for_an_hour(content_type: &'static str, value: &Value) -> Response {
    let mut response = respond::bytes(200, content_type, value.to_string());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

/// OpenID Connect discovery, as far as token verifiers need it; the keys are where this document was found.
fn issuer(request: &Request<Body>) -> Value {
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let host = host.or_else(|| request.headers().get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned));
    let base = host.map_or_else(|| ISSUER.to_owned(), |host| format!("https://{host}"));
    json!({
        "issuer": ISSUER, "jwks_uri": format!("{base}/openid/v1/jwks"), "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    })
}

/// Clients that know OpenAPI as protobuf ask for it by either of two names; `version` is `v2` or `v3`.
fn wants_protobuf(headers: &HeaderMap, version: &str) -> bool {
    let accepted = headers.get_all(http::header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for clause in accepted.flat_map(|value| value.split(',')) {
        let media = clause.split(';').next().unwrap_or_default().trim();
        if matches!(media, "application/json" | "*/*" | "application/*") {
            return false;
        }
        let named = media.strip_prefix("application/com.github.proto-openapi.spec.").and_then(|rest| rest.strip_prefix(version));
        if matches!(named, Some("@v1.0+protobuf" | ".v1.0+protobuf")) {
            return true;
        }
    }
    false
}
