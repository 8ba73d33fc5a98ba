//! Who answers a request that has its turn: by its path, then by its method.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request};
use mizzen_api::{GroupResource, GroupVersionResource, ResourceDescriptor, Scope, Status, Verb};

use super::asked::{is_connect, is_proxy, is_tunnel};
use super::handler::Handler;
use super::params::Params;
use super::path::{Path, ResourcePath};
use super::{health, respond};
use crate::auth::node::node_of;
use crate::auth::{Action, Identity};
use crate::errors;
use crate::metrics::Asked;
use crate::proxy;

/// What a request for a resource is about.
pub(super) struct Place<'a> {
    pub(super) gvr: GroupVersionResource,
    pub(super) path: &'a ResourcePath,
    pub(super) params: Params,
    pub(super) asked: Asked<'a>,
}

impl Handler {
    /// Leads a request to who answers it.
    pub(super) async fn route(
        &self,
        user: Arc<Identity>,
        path: &Path,
        asked: Asked<'_>,
        request: Request<Body>,
    ) -> Result<Response, Status> {
        let Path::Resource(path) = path else {
            self.may_read(&user, &request)?;
            let probe = health::Probe::parse(request.uri().path(), request.uri().query().unwrap_or_default());
            return match probe {
                Some(probe) => probe.answer(&*self.pipeline.store, &self.shutdown).await,
                None => self.document(path, &request),
            };
        };
        let params = Params::parse(request.uri().query().unwrap_or_default());
        let gvr = GroupVersionResource::new(path.group.as_str(), path.version.as_str(), path.resource.as_str());
        if is_connect(path) {
            return Box::pin(self.connect(user, &gvr, path, request)).await;
        }
        if is_proxy(path) {
            return Box::pin(self.proxy(&user, path, request)).await;
        }
        if is_tunnel(path) {
            return self.tunnel(&user, path, request);
        }
        self.fits_scope(path)?;
        let watch = path.watch || params.flag("watch").unwrap_or(false);
        let place = Place { gvr, path, params, asked };
        let mut answered = self.by_method(user, watch, &place, request).await;
        for warning in deprecation(path).map(str::to_owned).into_iter().chain(self.custom_deprecation(path)) {
            match &mut answered {
                Ok(response) => respond::warn(response, &[warning]),
                Err(status) => status.warnings.push(warning),
            }
        }
        answered
    }

    /// What is said of a version of a custom kind that clients should not use any more.
    fn custom_deprecation(&self, path: &ResourcePath) -> Option<String> {
        // Groups without a dot are built in.
        let registry = path.group.contains('.').then(|| self.pipeline.registry.snapshot())?;
        let descriptor = registry.by_resource(&path.group, &path.version, &path.resource)?;
        Some(descriptor.custom.as_ref()?.deprecation.as_ref()?.to_string())
    }

    /// A cluster-scoped resource is in no namespace.
    fn fits_scope(&self, path: &ResourcePath) -> Result<(), Status> {
        let found = self.pipeline.registry.by_resource(&path.group, &path.version, &path.resource);
        match found {
            Some(found) if found.scope == Scope::Cluster && !path.namespace.is_empty() => Err(errors::no_such_path()),
            _ => Ok(()),
        }
    }

    async fn by_method(
        &self,
        user: Arc<Identity>,
        watch: bool,
        place: &Place<'_>,
        request: Request<Body>,
    ) -> Result<Response, Status> {
        let path = place.path;
        let collection = path.name.is_empty();
        match *request.method() {
            Method::GET | Method::HEAD if watch && path.subresource.is_empty() => {
                Box::pin(self.watch(&user, place, request.headers())).await
            }
            Method::GET | Method::HEAD if collection => Box::pin(self.list(&user, place, request.headers())).await,
            Method::GET | Method::HEAD => self.get(&user, place, request.headers()).await,
            // An object is created in its collection; a name is there for its subresources.
            Method::POST if !collection && path.subresource.is_empty() => Err(errors::method_not_allowed()),
            Method::POST => self.write(user, Verb::Create, place, request).await,
            Method::PUT if !collection => self.write(user, Verb::Update, place, request).await,
            Method::PATCH if !collection => self.write(user, Verb::Patch, place, request).await,
            Method::DELETE if collection => self.write(user, Verb::DeleteCollection, place, request).await,
            Method::DELETE => self.write(user, Verb::Delete, place, request).await,
            _ => Err(errors::method_not_allowed()),
        }
    }

    /// The descriptor of a resource that is served at this place.
    ///
    /// # Errors
    /// `NotFound` for a resource that is not served.
    pub(super) fn descriptor(&self, gvr: &GroupVersionResource) -> Result<Arc<ResourceDescriptor>, Status> {
        self.pipeline.registry.by_resource(&gvr.group, &gvr.version, &gvr.resource).ok_or_else(errors::no_such_path)
    }

    /// Whether objects of the resource are only answered, never stored.
    pub(super) fn is_review(&self, gvr: &GroupVersionResource) -> bool {
        let found = self.pipeline.registry.by_resource(&gvr.group, &gvr.version, &gvr.resource);
        found.is_some_and(|descriptor| descriptor.virtual_only)
    }

    /// Whether what is asked for can be answered as protobuf.
    pub(super) fn is_encodable(&self, gvr: &GroupVersionResource) -> bool {
        self.pipeline
            .registry
            .by_resource(&gvr.group, &gvr.version, &gvr.resource)
            .is_none_or(|descriptor| descriptor.custom.is_none() && crate::protobuf::is_encodable(&descriptor.schema))
    }

    async fn proxy(&self, user: &Arc<Identity>, path: &ResourcePath, request: Request<Body>) -> Result<Response, Status> {
        self.fits_scope(path)?;
        let verb = proxy::verb(request.method()).ok_or_else(errors::method_not_allowed)?;
        let action = Action::Resource {
            verb,
            group: "",
            resource: &path.resource,
            subresource: "proxy",
            namespace: &path.namespace,
            name: &path.name,
        };
        self.pipeline.authorize(user, &action)?;
        let (request, warnings) = self.admitted(user, path, request).await?;
        let place = proxy::Place { resource: &path.resource, namespace: &path.namespace, id: &path.name };
        let mut response = proxy::answer(&*self.pipeline.store, self.connector.as_ref(), place, request).await?;
        respond::warn(&mut response, &warnings);
        Ok(response)
    }

    /// A tunnel makes its other end the node: nobody may open it but that node, whatever rights somebody has.
    fn tunnel(&self, user: &Identity, path: &ResourcePath, request: Request<Body>) -> Result<Response, Status> {
        let connector = self.connector.as_ref().ok_or_else(errors::no_such_path)?;
        if path.name.is_empty() || node_of(user) != Some(path.name.as_str()) {
            let why = format!("User {:?} is not that node, which alone may open its tunnel", user.username);
            return Err(errors::forbidden_because(&GroupResource::new(path.group.as_str(), "nodes"), &path.name, &why));
        }
        connector.tunnel(&path.name, request)
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
        let (request, warnings) = self.admitted(&user, path, request).await?;
        let descriptor = self.descriptor(gvr)?;
        let pod = self
            .pipeline
            .store
            .get(&descriptor.key(&path.namespace, &path.name))
            .ok_or_else(|| Status::not_found(&descriptor.group_resource(), &path.name))?;
        let mut response = connector.connect(user, pod, &path.subresource, request).await;
        respond::warn(&mut response, &warnings);
        Ok(response)
    }
}

/// What clients are told that still use a resource which others took over from.
fn deprecation(path: &ResourcePath) -> Option<&'static str> {
    match (path.group.as_str(), path.resource.as_str()) {
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        ("", "endpoints") => Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        _ => None,
    }
}
