//! One HTTP request: who asks, what for, and the answer in the form that is asked.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Method, Request};
use mizzen_api::{GroupVersionResource, Reason, Status, Verb};
use mizzen_client::{ApiRequest, PatchKind};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::accept::{self, Accepted, Shape};
use super::list_body::{self, ListBody};
use super::params::Params;
use super::path::{self, Path, ResourcePath};
use super::watch_body::{self, Frames};
use super::{body, health, respond};
use crate::auth::{Action, Identity};
use crate::authenticate::{Authenticate, Peer, anonymous};
use crate::connect::{self, Connect};
use crate::openapi::OpenApi;
use crate::pipeline::{Pipeline, Written};
use crate::table::{self, IncludeObject};
use crate::{discovery, errors, version};

/// Kinds whose deletion answers with the object; the others answer with a Status.
const ANSWERED_WITH_OBJECT: &[&str] =
    &["persistentvolumeclaims", "persistentvolumes", "pods", "podtemplates", "resourcequotas", "serviceaccounts", "services"];

pub(crate) struct Handler {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) authenticator: Arc<dyn Authenticate>,
    pub(crate) connector: Option<Arc<dyn Connect>>,
    pub(crate) openapi: OpenApi,
    pub(crate) shutdown: CancellationToken,
}

impl Handler {
    /// Answers one request; failures are answered too.
    pub(crate) async fn handle(&self, peer: Option<&Peer>, request: Request<Body>) -> Response {
        let audit_id = request.headers().get("audit-id").cloned().or_else(|| uuid::Uuid::new_v4().to_string().parse().ok());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let started = std::time::Instant::now();
        let who = self
            .authenticator
            .authenticate(peer, request.headers())
            .map(|user| user.unwrap_or_else(|| Arc::new(anonymous())))
            .and_then(|user| super::impersonate::acting_as(&self.pipeline, user, request.headers()));
        let answered = match who {
            Ok(user) => {
                let span = tracing::debug_span!("request", audit_id = ?audit_id, user = user.username);
                self.route(user, request).instrument(span).await
            }
            Err(status) => Err(status),
        };
        let mut response = answered.unwrap_or_else(|status| respond::status(&status));
        tracing::debug!(
            %method, path = uri.path(), code = response.status().as_u16(), audit_id = ?audit_id,
            micros = started.elapsed().as_micros(), "request"
        );
        if let Some(audit_id) = audit_id {
            response.headers_mut().insert("audit-id", audit_id);
        }
        response
    }

    async fn route(&self, user: Arc<Identity>, request: Request<Body>) -> Result<Response, Status> {
        match path::parse(request.uri().path()) {
            Path::Resource(path) => self.resource(user, path, request).await,
            discovery => {
                let verb = request.method().as_str().to_ascii_lowercase();
                self.pipeline.authorize(&user, &Action::Path { verb: &verb, path: request.uri().path() })?;
                if !matches!(*request.method(), Method::GET | Method::HEAD) {
                    return Err(errors::method_not_allowed());
                }
                match health::Probe::parse(request.uri().path(), request.uri().query().unwrap_or_default()) {
                    Some(probe) => probe.answer(&*self.pipeline.store, &self.shutdown).await,
                    None => self.document(&discovery, request.uri().path(), request.headers()),
                }
            }
        }
    }

    /// Discovery, OpenAPI and version.
    fn document(&self, path: &Path, text: &str, headers: &HeaderMap) -> Result<Response, Status> {
        let registry = &self.pipeline.registry;
        let value = match path {
            Path::CoreVersions | Path::Groups if accept::aggregated_discovery(headers) => {
                let core = *path == Path::CoreVersions;
                let body = discovery::aggregated(registry, core).to_string();
                return Ok(respond::bytes(200, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", body));
            }
            Path::CoreVersions => discovery::core_versions(),
            Path::Groups => discovery::groups(registry),
            Path::Group(group) => discovery::group(registry, group).ok_or_else(errors::no_such_path)?,
            Path::GroupVersion(group, version) => {
                discovery::resources(registry, group, version).ok_or_else(errors::no_such_path)?
            }
            Path::Resource(_) => return Err(errors::no_such_path()),
            Path::Other => match text {
                "/version" | "/version/" => version::info(),
                "/openapi/v2" => return Ok(openapi_v2(headers)),
                "/openapi/v3" | "/openapi/v3/" => self.openapi.index(),
                text => {
                    let group_version = text.strip_prefix("/openapi/v3/").ok_or_else(errors::no_such_path)?;
                    let json = self.openapi.document(group_version).ok_or_else(errors::no_such_path)?;
                    return Ok(respond::bytes(200, "application/json", json));
                }
            },
        };
        Ok(respond::value(200, &value, false))
    }

    async fn resource(&self, user: Arc<Identity>, path: ResourcePath, request: Request<Body>) -> Result<Response, Status> {
        let params = Params::parse(request.uri().query().unwrap_or_default());
        let gvr = GroupVersionResource::new(path.group.as_str(), path.version.as_str(), path.resource.as_str());
        if connect::SUBRESOURCES.contains(&path.subresource.as_str()) && path.group.is_empty() && path.resource == "pods" {
            return self.connect(user, &gvr, &path, request).await;
        }
        let collection = path.name.is_empty();
        let watch = path.watch || params.flag("watch")?.unwrap_or(false);
        match *request.method() {
            Method::GET | Method::HEAD if watch && path.subresource.is_empty() => {
                self.watch(&user, &gvr, &path, &params, request.headers()).await
            }
            Method::GET | Method::HEAD if collection => self.list(&user, &gvr, &path, &params, request.headers()).await,
            Method::GET | Method::HEAD => self.get(&user, &gvr, &path, &params, request.headers()).await,
            // An object is created in its collection; a name is there for its subresources.
            Method::POST if !collection && path.subresource.is_empty() => Err(errors::method_not_allowed()),
            Method::POST => self.write(user, Verb::Create, &gvr, &path, &params, request).await,
            Method::PUT if !collection => self.write(user, Verb::Update, &gvr, &path, &params, request).await,
            Method::PATCH if !collection => self.write(user, Verb::Patch, &gvr, &path, &params, request).await,
            Method::DELETE if collection => self.write(user, Verb::DeleteCollection, &gvr, &path, &params, request).await,
            Method::DELETE => self.write(user, Verb::Delete, &gvr, &path, &params, request).await,
            _ => Err(errors::method_not_allowed()),
        }
    }

    async fn get(
        &self,
        user: &Identity,
        gvr: &GroupVersionResource,
        path: &ResourcePath,
        params: &Params,
        headers: &HeaderMap,
    ) -> Result<Response, Status> {
        let accepted = accept::negotiate(headers)?;
        let revision = params.get("resourceVersion").unwrap_or_default();
        let object = self.pipeline.get(user, gvr, &path.namespace, &path.name, &path.subresource, revision).await?;
        self.object(200, gvr, &object, accepted, params)
    }

    /// One object in the shape that is asked.
    fn object(
        &self,
        code: u16,
        gvr: &GroupVersionResource,
        object: &mizzen_api::Object,
        accepted: Accepted,
        params: &Params,
    ) -> Result<Response, Status> {
        if accepted.shape == Shape::Object {
            return Ok(respond::document(code, object.bytes().clone(), accepted.yaml));
        }
        let descriptor =
            self.pipeline.registry.by_resource(&gvr.group, &gvr.version, &gvr.resource).ok_or_else(errors::no_such_path)?;
        let shown = match accepted.shape {
            Shape::Table => {
                let metadata = serde_json::json!({"resourceVersion": object.head().resource_version});
                let include = IncludeObject::parse(params.get("includeObject"))?;
                table::of_objects(&descriptor, std::iter::once(object), metadata, (self.pipeline.clock)(), include)?
            }
            _ => table::only_metadata(object)?,
        };
        Ok(respond::value(code, &shown, accepted.yaml))
    }

    async fn list(
        &self,
        user: &Identity,
        gvr: &GroupVersionResource,
        path: &ResourcePath,
        params: &Params,
        headers: &HeaderMap,
    ) -> Result<Response, Status> {
        let accepted = accept::negotiate(headers)?;
        let include = IncludeObject::parse(params.get("includeObject"))?;
        let listed = self.pipeline.list(user, gvr, &path.namespace, &params.list()?).await?;
        let metadata = list_body::metadata(&listed);
        match accepted.shape {
            Shape::Object if !accepted.yaml => Ok(respond::bytes(200, "application/json", Body::new(ListBody::new(listed)))),
            Shape::Object => {
                let json = axum::body::to_bytes(Body::new(ListBody::new(listed)), usize::MAX).await.map_err(Status::internal)?;
                Ok(respond::document(200, json, true))
            }
            Shape::Table => {
                let objects = listed.items.iter().map(AsRef::as_ref);
                let table = table::of_objects(&listed.target.descriptor, objects, metadata, (self.pipeline.clock)(), include)?;
                Ok(respond::value(200, &table, accepted.yaml))
            }
            Shape::PartialMetadata | Shape::PartialMetadataList => {
                let mut items = Vec::with_capacity(listed.items.len());
                for item in &listed.items {
                    items.push(table::only_metadata(item)?);
                }
                let list = serde_json::json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items,
                });
                Ok(respond::value(200, &list, accepted.yaml))
            }
        }
    }

    async fn watch(
        &self,
        user: &Identity,
        gvr: &GroupVersionResource,
        path: &ResourcePath,
        params: &Params,
        headers: &HeaderMap,
    ) -> Result<Response, Status> {
        let accepted = accept::negotiate(headers)?;
        let include = IncludeObject::parse(params.get("includeObject"))?;
        let mut options = params.watch()?;
        if !path.name.is_empty() {
            options.field_selector = narrowed_to(&options.field_selector, &path.name);
        }
        let watching = match self.pipeline.watch(user, gvr, &path.namespace, &options).await {
            Ok(watching) => watching,
            // A revision that is gone is told in the stream, where clients look for it.
            Err(status) if status.is(Reason::Expired) => {
                let event = serde_json::json!({"type": "ERROR", "object": status.to_json()});
                return Ok(respond::bytes(200, "application/json", format!("{event}\n")));
            }
            Err(status) => return Err(status),
        };
        let frames = Frames {
            target: watching.target.clone(),
            shape: accepted.shape,
            include,
            clock: self.pipeline.clock.clone(),
            columns_sent: false,
        };
        let body = watch_body::body(watching.stream(self.shutdown.clone()), frames);
        Ok(respond::bytes(200, "application/json", body))
    }

    async fn write(
        &self,
        user: Arc<Identity>,
        verb: Verb,
        gvr: &GroupVersionResource,
        path: &ResourcePath,
        params: &Params,
        request: Request<Body>,
    ) -> Result<Response, Status> {
        let (parts, incoming) = request.into_parts();
        let accepted = accept::negotiate(&parts.headers)?;
        let bytes = body::read(incoming).await?;
        let schemas = self.pipeline.registry.schemas();
        let mut api = ApiRequest::new(verb, gvr, &path.namespace, &path.name).subresource(&path.subresource);
        let user_agent = parts.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        api.write = params.write(user_agent)?;
        match verb {
            Verb::Patch => {
                let kind = body::patch_kind(&parts.headers)?;
                api.body = match kind {
                    PatchKind::Apply => mizzen_client::Body::Yaml(bytes),
                    _ => mizzen_client::Body::Json(bytes),
                };
                api.patch = Some(kind);
            }
            Verb::Delete | Verb::DeleteCollection => {
                let document = crate::pipeline::body::parse(body::document(&schemas, &parts.headers, bytes)?)?;
                api.delete = params.delete(&document.value)?;
                api.list = params.list()?;
            }
            _ => api.body = body::document(&schemas, &parts.headers, bytes)?,
        }
        let written = self.pipeline.write(&user, api).await?;
        let mut response = if written.deleted && verb == Verb::Delete && !is_answered_with_object(path) {
            respond::value(200, &deletion_status(gvr, &written), accepted.yaml)
        } else {
            // A Table is for kubectl's reads; what is written comes back as it is.
            let accepted = if accepted.shape == Shape::Table { Accepted { shape: Shape::Object, ..accepted } } else { accepted };
            self.object(written.code, gvr, &written.object, accepted, params)?
        };
        respond::warn(&mut response, &written.warnings);
        Ok(response)
    }

    async fn connect(
        &self,
        user: Arc<Identity>,
        gvr: &GroupVersionResource,
        path: &ResourcePath,
        request: Request<Body>,
    ) -> Result<Response, Status> {
        let verb = match *request.method() {
            Method::GET => "get",
            Method::POST if path.subresource != "log" => "create",
            _ => return Err(errors::method_not_allowed()),
        };
        let authorize = |verb: &str| {
            self.pipeline.authorize(
                &user,
                &Action::Resource {
                    verb,
                    group: "",
                    resource: "pods",
                    subresource: &path.subresource,
                    namespace: &path.namespace,
                    name: &path.name,
                },
            )
        };
        authorize(verb)?;
        if path.subresource != "log" && verb == "get" {
            // A WebSocket upgrade is a GET, and does as much as the POST.
            authorize("create")?;
        }
        let connector = self.connector.as_ref().ok_or_else(errors::no_such_path)?;
        let descriptor =
            self.pipeline.registry.by_resource(&gvr.group, &gvr.version, &gvr.resource).ok_or_else(errors::no_such_path)?;
        let pod = self
            .pipeline
            .store
            .get(&descriptor.key(&path.namespace, &path.name))
            .ok_or_else(|| Status::not_found(&descriptor.group_resource(), &path.name))?;
        Ok(connector.connect(user, pod, &path.subresource, request).await)
    }
}

/// A client's field selector that also holds the name that the path gives.
fn narrowed_to(field_selector: &str, name: &str) -> String {
    let mut narrowed = field_selector.to_owned();
    narrowed.push_str(if narrowed.is_empty() { "metadata.name=" } else { ",metadata.name=" });
    for c in name.chars() {
        if matches!(c, '\\' | ',' | '=') {
            narrowed.push('\\');
        }
        narrowed.push(c);
    }
    narrowed
}

/// The older OpenAPI has no schemas here: all that asks for them (kubectl, before it sends a `v1.List`) takes that to
/// mean that the server checks fields itself, which it does.
fn openapi_v2(headers: &HeaderMap) -> Response {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    // `openapi.v2.Document {swagger: "2.0"}`.
    const DOCUMENT: &[u8] = b"\x0a\x032.0";
    let accepted = headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.contains("proto-openapi.spec.v2") {
        return respond::bytes(200, PROTOBUF, DOCUMENT);
    }
    let info = serde_json::json!({"title": "Kubernetes", "version": version::GIT_VERSION});
    respond::value(200, &serde_json::json!({"swagger": "2.0", "info": info, "paths": {}, "definitions": {}}), false)
}

fn is_answered_with_object(path: &ResourcePath) -> bool {
    path.group.is_empty() && ANSWERED_WITH_OBJECT.contains(&path.resource.as_str())
}

fn deletion_status(gvr: &GroupVersionResource, written: &Written) -> Value {
    let head = written.object.head();
    let mut details = serde_json::json!({"name": head.name, "kind": gvr.resource, "uid": head.uid});
    if !gvr.group.is_empty() {
        details["group"] = Value::String(gvr.group.to_string());
    }
    serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

#[cfg(test)]
mod tests {
    use mizzen_api::selector::FieldSelector;

    use super::narrowed_to;

    #[test]
    fn a_name_in_the_path_narrows_the_selector_of_the_client() {
        assert_eq!(narrowed_to("", "a"), "metadata.name=a");
        assert_eq!(narrowed_to("status.phase=Running", "a"), "status.phase=Running,metadata.name=a");
        let selector = FieldSelector::parse(&narrowed_to("", r"a,b=c\")).expect("parses");
        assert_eq!(selector.exact("metadata.name"), Some(r"a,b=c\"));
    }
}
