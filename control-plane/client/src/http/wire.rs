//! The API's requests as HTTP has them, whatever carries them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, WARNING};
use http::{Method, Request, Response};
use mizzen_api::{GroupVersionResource, Object, Status, Verb};
use serde_json::{Value, json};

use super::{answer, path, watch};
use crate::{
    ApiRequest, ApiResponse, Body, Client, DeleteOptions, Discovery, ListOptions, ObjectList, Propagation, WatchOptions,
    WatchStream,
};

const JSON: &str = "application/json";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The body of an answer as it comes.
pub type Parts = BoxStream<'static, Result<Bytes, Status>>;

/// Who carries requests to a server, and their answers back. Whoever does is a [`Client`].
#[async_trait]
pub trait Wire: Send + Sync + 'static {
    /// Sends a request, whose URI is a path and its query.
    ///
    /// # Errors
    /// `ServiceUnavailable` when there is no answer; refusals are answers.
    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Parts>, Status>;
}

async fn whole(mut parts: Parts) -> Result<Bytes, Status> {
    let first = parts.try_next().await?.unwrap_or_default();
    let Some(second) = parts.try_next().await? else { return Ok(first) };
    let mut all = BytesMut::from(first);
    all.extend_from_slice(&second);
    while let Some(part) = parts.try_next().await? {
        all.extend_from_slice(&part);
    }
    Ok(all.freeze())
}

/// Sends a request; refusals are errors.
async fn send(wire: &impl Wire, request: Request<Bytes>) -> Result<Response<Parts>, Status> {
    let response = wire.exchange(request).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let code = response.status().as_u16();
    Err(answer::failure(code, &whole(response.into_body()).await?))
}

fn request(method: Method, path: &str, query: &[(&str, String)], accept: &'static str) -> Result<Request<Bytes>, Status> {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let request = Request::builder().method(method).uri(uri).header(ACCEPT, HeaderValue::from_static(accept));
    request.body(Bytes::new()).map_err(|error| Status::bad_request(format!("a request for {path}: {error}")))
}

#[async_trait]
impl<W: Wire> Client for W {
    async fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        let request = request(Method::GET, &path::object(resource, namespace, name, ""), &[], JSON)?;
        Ok(Arc::new(Object::received(whole(send(self, request).await?.into_body()).await?)))
    }

    async fn list(&self, resource: &GroupVersionResource, namespace: &str, options: &ListOptions) -> Result<ObjectList, Status> {
        let request = request(Method::GET, &path::collection(resource, namespace), &path::list_query(options), JSON)?;
        answer::list(&whole(send(self, request).await?.into_body()).await?)
    }

    async fn watch(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        let request = request(Method::GET, &path::collection(resource, namespace), &path::watch_query(options), JSON)?;
        Ok(watch::events(send(self, request).await?.into_body()))
    }

    async fn write(&self, asked: ApiRequest) -> Result<ApiResponse, Status> {
        let response = send(self, written(asked)?).await?;
        let code = response.status().as_u16();
        let warnings =
            response.headers().get_all(WARNING).iter().filter_map(|value| answer::warning(value.to_str().ok()?)).collect();
        let body = whole(response.into_body()).await?;
        Ok(ApiResponse { code, object: Arc::new(Object::received(body)), warnings })
    }

    async fn discover(&self) -> Result<Arc<Discovery>, Status> {
        let mut documents = Vec::new();
        for path in ["/api", "/apis"] {
            let body = whole(send(self, request(Method::GET, path, &[], AGGREGATED)?).await?.into_body()).await?;
            let document: Value =
                serde_json::from_slice(&body).map_err(|error| Status::internal(format!("decode {path}: {error}")))?;
            documents.push(document);
        }
        Ok(Arc::new(Discovery::of_aggregated(&documents)))
    }
}

fn written(asked: ApiRequest) -> Result<Request<Bytes>, Status> {
    let (method, path) = match asked.verb {
        Verb::Create if asked.subresource.is_empty() => (Method::POST, path::collection(&asked.resource, &asked.namespace)),
        Verb::DeleteCollection => (Method::DELETE, path::collection(&asked.resource, &asked.namespace)),
        verb => (method(verb), path::object(&asked.resource, &asked.namespace, &asked.name, &asked.subresource)),
    };
    let mut query = path::write_query(&asked.write);
    if asked.verb == Verb::DeleteCollection {
        query.extend(path::list_query(&asked.list));
    }
    let json = |value: &Value| serde_json::to_vec(value).map(Bytes::from).map_err(Status::internal);
    let (kind, body) = match asked.verb {
        Verb::Delete | Verb::DeleteCollection => (JSON, json(&delete_options(&asked.delete))?),
        _ => match (asked.body, asked.patch.map(|patch| patch.content_type())) {
            (Body::None, _) => return request(method, &path, &query, JSON),
            (Body::Value(value), kind) => (kind.unwrap_or(JSON), json(&value)?),
            (Body::Json(bytes), kind) => (kind.unwrap_or(JSON), bytes),
            (Body::Yaml(bytes), kind) => (kind.unwrap_or("application/yaml"), bytes),
        },
    };
    let mut request = request(method, &path, &query, JSON)?.map(|_| body);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(request)
}

fn method(verb: Verb) -> Method {
    match verb {
        Verb::Create => Method::POST,
        Verb::Update => Method::PUT,
        Verb::Patch => Method::PATCH,
        Verb::Delete | Verb::DeleteCollection => Method::DELETE,
        Verb::Get | Verb::List | Verb::Watch => Method::GET,
    }
}

fn delete_options(options: &DeleteOptions) -> Value {
    let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
    if let Some(seconds) = options.grace_period_seconds {
        body["gracePeriodSeconds"] = json!(seconds);
    }
    if let Some(propagation) = options.propagation {
        body["propagationPolicy"] = json!(match propagation {
            Propagation::Orphan => "Orphan",
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
        });
    }
    if let Some(uid) = &options.uid {
        body["preconditions"]["uid"] = json!(uid);
    }
    if let Some(version) = &options.resource_version {
        body["preconditions"]["resourceVersion"] = json!(version);
    }
    if options.dry_run {
        body["dryRun"] = json!(["All"]);
    }
    body
}
