//! The API over HTTPS, for components that run apart from the API server.

mod answer;
mod failure;
mod path;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mizzen_api::{GroupVersionResource, Object, Reason, Status, Verb};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::{
    ApiRequest, ApiResponse, Body, Client, DeleteOptions, ListOptions, ObjectList, Propagation, WatchOptions, WatchStream,
};

/// A connection that hears nothing for so long is given up; a watch's bookmarks keep it alive.
const READ_TIMEOUT: Duration = Duration::from_secs(90);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that does not answer a ping within as long again is gone, though no packet says so.
const PING: Duration = Duration::from_secs(10);

/// Where the API is and who asks.
pub struct HttpConfig {
    /// `https://HOST:PORT`.
    pub server: String,
    /// The cluster's root certificate, PEM.
    pub root: String,
    /// Client certificate and key, PEM.
    pub certificate: Option<(String, String)>,
    /// Bearer token.
    pub token: Option<String>,
    /// Up to its first `/` it is the field manager of writes that name none.
    pub user_agent: String,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("use the {what} for {server}: {source}")]
    Credentials {
        what: &'static str,
        server: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("make a client for {server}: {source}")]
    Build {
        server: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{server} is not reached: {why}")]
    Unreachable { server: String, why: String },
    /// One side does not take the other's certificate: the credentials are another cluster's, or too old.
    #[error("{server} and these credentials do not belong together: {why}")]
    Distrust { server: String, why: String },
    #[error("{server} is not ready: HTTP {code}")]
    NotReady { server: String, code: u16 },
    #[error("{server} does not know who asks: {message}")]
    Unauthorized { server: String, message: String },
}

/// [`Client`] over HTTPS.
pub struct HttpClient {
    http: reqwest::Client,
    server: String,
    token: Option<String>,
}

impl HttpClient {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// When a certificate or key is not what it should be.
    pub fn new(config: HttpConfig) -> Result<Self, HttpError> {
        let server = config.server.trim_end_matches('/').to_owned();
        let wrong = |what| {
            let server = server.clone();
            move |source| HttpError::Credentials { what, server, source }
        };
        let roots = reqwest::Certificate::from_pem_bundle(config.root.as_bytes()).map_err(wrong("root certificate"))?;
        let mut builder = reqwest::Client::builder()
            .tls_certs_only(roots)
            .user_agent(config.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            .http2_keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if let Some((certificate, key)) = config.certificate {
            let pem = format!("{certificate}\n{key}");
            builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).map_err(wrong("client certificate"))?);
        }
        let http = builder.build().map_err(|source| HttpError::Build { server: server.clone(), source })?;
        Ok(Self { http, server, token: config.token })
    }

    /// Asks the server whether it is ready to serve.
    ///
    /// # Errors
    /// [`HttpError::Unreachable`] and [`HttpError::NotReady`] may pass; [`HttpError::Distrust`] and
    /// [`HttpError::Unauthorized`] stay as they are until somebody changes the credentials.
    pub async fn ready(&self) -> Result<(), HttpError> {
        let server = self.server.clone();
        let response = match self.request(Method::GET, "/readyz", &[]).send().await {
            Ok(response) => response,
            Err(error) => {
                let why = failure::reason(&error);
                let distrust = failure::is_distrust(&error);
                return Err(if distrust { HttpError::Distrust { server, why } } else { HttpError::Unreachable { server, why } });
            }
        };
        match response.status().as_u16() {
            200 => Ok(()),
            401 => {
                let body = response.bytes().await.unwrap_or_default();
                Err(HttpError::Unauthorized { server, message: answer::failure(401, &body).message })
            }
            code => Err(HttpError::NotReady { server, code }),
        }
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, String)]) -> RequestBuilder {
        let request =
            self.http.request(method, format!("{}{path}", self.server)).query(query).header("accept", "application/json");
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Status> {
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let body = response.bytes().await.map_err(|error| unreachable(&error))?;
        Err(answer::failure(code, &body))
    }
}

fn unreachable(error: &reqwest::Error) -> Status {
    Status::new(Reason::ServiceUnavailable, failure::text(error))
}

#[async_trait]
impl Client for HttpClient {
    async fn get(&self, resource: &GroupVersionResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        let request = self.request(Method::GET, &path::object(resource, namespace, name, ""), &[]);
        let body = self.send(request).await?.bytes().await.map_err(|error| unreachable(&error))?;
        answer::object(body).map(Arc::new)
    }

    async fn list(&self, resource: &GroupVersionResource, namespace: &str, options: &ListOptions) -> Result<ObjectList, Status> {
        let request = self.request(Method::GET, &path::collection(resource, namespace), &path::list_query(options));
        let body = self.send(request).await?.bytes().await.map_err(|error| unreachable(&error))?;
        answer::list(&body)
    }

    async fn watch(
        &self,
        resource: &GroupVersionResource,
        namespace: &str,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        let request = self.request(Method::GET, &path::collection(resource, namespace), &path::watch_query(options));
        Ok(watch::events(self.send(request).await?))
    }

    async fn write(&self, request: ApiRequest) -> Result<ApiResponse, Status> {
        let (method, path) = match request.verb {
            Verb::Create if request.subresource.is_empty() => {
                (Method::POST, path::collection(&request.resource, &request.namespace))
            }
            Verb::DeleteCollection => (Method::DELETE, path::collection(&request.resource, &request.namespace)),
            verb => {
                let path = path::object(&request.resource, &request.namespace, &request.name, &request.subresource);
                (method(verb), path)
            }
        };
        let mut query = path::write_query(&request.write);
        if request.verb == Verb::DeleteCollection {
            query.extend(path::list_query(&request.list));
        }
        let http = self.request(method, &path, &query);
        let http = match request.verb {
            Verb::Delete | Verb::DeleteCollection => http.json(&delete_options(&request.delete)),
            _ => {
                let kind = request.patch.map_or("application/json", |patch| patch.content_type());
                match request.body {
                    Body::None => http,
                    Body::Value(value) => {
                        let bytes = serde_json::to_vec(&value).map_err(Status::internal)?;
                        http.header("content-type", kind).body(bytes)
                    }
                    Body::Json(bytes) => http.header("content-type", kind).body(bytes),
                    Body::Yaml(bytes) if request.patch.is_some() => http.header("content-type", kind).body(bytes),
                    Body::Yaml(bytes) => http.header("content-type", "application/yaml").body(bytes),
                }
            }
        };
        let response = self.send(http).await?;
        let code = response.status().as_u16();
        let warnings =
            response.headers().get_all("warning").iter().filter_map(|value| answer::warning(value.to_str().ok()?)).collect();
        let body = response.bytes().await.map_err(|error| unreachable(&error))?;
        Ok(ApiResponse { code, object: Arc::new(answer::object(body)?), warnings })
    }
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
