//! Asking webhooks over HTTPS: conversion, admission and audit.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mizzen_store::Store;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::roots::Roots;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    #[error("{what} is not configured")]
    Config { what: &'static str },
    #[error("service {namespace}/{name} {why}")]
    Service { namespace: String, name: String, why: &'static str },
    #[error("Post \"{url}\": {operation} {address}: {source}")]
    Connection {
        url: String,
        operation: &'static str,
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("Post \"{url}\": context deadline exceeded")]
    Timeout { url: String },
    #[error("{}", said(*code, text))]
    Answer { code: u16, text: String },
}

/// What a server means by a code, in the words of Kubernetes' clients; `text` is the body of its answer.
fn said(code: u16, text: &str) -> String {
    let what = match code {
        401 => "the server has asked for the client to provide credentials",
        404 => "the server could not find the requested resource",
        405 => "the server does not allow this method on the requested resource",
        429 => "the server has received too many requests and has asked us to try again later",
        503 => "the server is currently unable to handle the request",
        504 => "the server was unable to return a response in the time allotted, but may still be processing the request",
        400 => return format!("the server rejected our request for an unknown reason ({text:?})"),
        500.. => return format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        _ => return format!("the server responded with the status code {code}: {text:?}"),
    };
    what.to_owned()
}

/// So much of an answer that is none is told, in characters.
const TOLD: usize = 512;

/// Where a webhook is.
pub(crate) struct Place {
    /// Host and port to connect to.
    pub(crate) address: String,
    /// The name that its certificate is for.
    pub(crate) name: String,
    /// Host and port as people know it.
    authority: String,
    pub(crate) path: String,
}

impl Place {
    /// Tells the webhook how long it may take.
    pub(crate) fn give(&mut self, seconds: u64) {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        self.path = format!("{}{separator}timeout={seconds}s", self.path);
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> WebhookError {
        let (url, address) = (self.url(), self.address.clone());
        move |source| WebhookError::Connection { url, operation, address, source }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}{}", self.authority, self.path)
    }
}

/// Where a URL leads.
pub(crate) fn place_of(url: &str) -> Result<Place, WebhookError> {
    let uri: http::Uri = url.parse().map_err(|_| WebhookError::Config { what: "a URL" })?;
    let host = uri.host().ok_or(WebhookError::Config { what: "a host" })?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Place {
        address: format!("{host}:{}", uri.port_u16().unwrap_or(443)),
        name: host.trim_matches(['[', ']']).to_owned(),
        authority: uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
        path,
    })
}

pub(crate) fn place(store: &dyn Store, config: &Value) -> Result<Place, WebhookError> {
    if let Some(url) = config["url"].as_str() {
        return place_of(url);
    }
    let service = &config["service"];
    let text = |field: &str| service[field].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let missing = |why| WebhookError::Service { namespace: namespace.to_owned(), name: name.to_owned(), why };
    let object = store.get(&format!("/registry//services/{namespace}/{name}")).ok_or_else(|| missing("not found"))?;
    let found = object.value().map_err(|_| missing("cannot be read"))?;
    let address = found.pointer("/spec/clusterIP").and_then(Value::as_str).filter(|address| !["", "None"].contains(address));
    let address = address.ok_or_else(|| missing("has no cluster address"))?;
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let path = if text("path").is_empty() { "/" } else { text("path") };
    let port = service["port"].as_u64().unwrap_or(443);
    let name = format!("{name}.{namespace}.svc");
    Ok(Place { address: format!("{host}:{port}"), authority: format!("{name}:{port}"), name, path: path.to_owned() })
}

/// Without a bundle, whom the machine trusts.
fn trust(config: &Value) -> Result<Arc<rustls::ClientConfig>, WebhookError> {
    static MACHINE: LazyLock<Option<Arc<rustls::ClientConfig>>> =
        LazyLock::new(|| Some(Arc::new(Roots::of_the_machine().into_config().ok()?.with_no_client_auth())));
    let bundle = config["caBundle"].as_str().unwrap_or_default();
    if bundle.is_empty() {
        return MACHINE.clone().ok_or(WebhookError::Config { what: "TLS" });
    }
    let pem = mizzen_api::validate::base64(bundle).map_err(|_| WebhookError::Config { what: "a readable caBundle" })?;
    Ok(Arc::new(trusting(&pem)?.with_no_client_auth()))
}

/// TLS that trusts the certificates of a PEM bundle; who asks is left open.
pub(crate) fn trusting(
    pem: &[u8],
) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert>, WebhookError> {
    let mut roots = Roots::empty();
    for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
        // A certificate that is no root is of no use; the handshake tells.
        let _ = roots.add(certificate);
    }
    roots.into_config().map_err(|_| WebhookError::Config { what: "TLS" })
}

/// Asks a webhook for its review.
pub(crate) async fn ask(place: &Place, config: &Value, review: &Value) -> Result<Value, WebhookError> {
    // Most requests ask nobody: their futures should not have room for a connection.
    let (code, answer) = Box::pin(post(place, trust(config)?, None, review.to_string().into())).await?;
    if !(200..=206).contains(&code) {
        let text = String::from_utf8_lossy(&answer).trim().chars().take(TOLD).collect();
        return Err(WebhookError::Answer { code, text });
    }
    serde_json::from_slice(&answer).map_err(|error| place.failed("decode the answer of")(error.into()))
}

/// Sends JSON on a connection of its own. Gives the status and the body of the answer.
pub(crate) async fn post(
    place: &Place,
    tls: Arc<rustls::ClientConfig>,
    authorization: Option<&HeaderValue>,
    body: Bytes,
) -> Result<(u16, Bytes), WebhookError> {
    let failed = |operation: &'static str| place.failed(operation);
    let tls = TlsConnector::from(tls);
    let stream = TcpStream::connect(&place.address)
        .await
        .map_err(|error| failed("dial tcp")(mizzen_api::why_not_connected(&error).into()))?;
    let name = ServerName::try_from(place.name.clone()).map_err(|error| failed("name")(error.into()))?;
    let stream = tls.connect(name, stream).await.map_err(|error| failed("TLS handshake with")(error.into()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed("connect to")(error.into()))?;
    let connection = Aborted(tokio::spawn(connection));
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(&place.path)
        .header(header::HOST, &place.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Body::from(body))
        .map_err(|error| failed("ask")(error.into()))?;
    if let Some(value) = authorization {
        request.headers_mut().insert(header::AUTHORIZATION, value.clone());
    }
    let response = sender.send_request(request).await.map_err(|error| failed("Post")(error.into()))?;
    let code = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(failed("read the answer of"))?;
    drop(connection);
    Ok((code, body.to_bytes()))
}

/// A connection that ends with the request that it was made for, also one that nobody waits for any more.
struct Aborted<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
