//! Asking webhooks over HTTPS: conversion and admission.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mizzen_store::Store;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    #[error("{what} is not configured")]
    Config { what: &'static str },
    #[error("service {namespace}/{name} {why}")]
    Service { namespace: String, name: String, why: &'static str },
    #[error("{operation} {address}: {source}")]
    Connection {
        operation: &'static str,
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("Post {address}: context deadline exceeded")]
    Timeout { address: String },
    #[error("the server answered {code}")]
    Answer { code: u16 },
    #[error("{0}")]
    Review(String),
}

/// Where a webhook is.
pub(crate) struct Place {
    /// Host and port to connect to.
    pub(crate) address: String,
    /// The name that its certificate is for.
    pub(crate) name: String,
    pub(crate) path: String,
}

pub(crate) fn place(store: &dyn Store, config: &Value) -> Result<Place, WebhookError> {
    if let Some(url) = config["url"].as_str() {
        let uri: http::Uri = url.parse().map_err(|_| WebhookError::Config { what: "a URL" })?;
        let host = uri.host().ok_or(WebhookError::Config { what: "a host" })?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        return Ok(Place {
            address: format!("{host}:{}", uri.port_u16().unwrap_or(443)),
            name: host.trim_matches(['[', ']']).to_owned(),
            path,
        });
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
    Ok(Place { address: format!("{host}:{port}"), name: format!("{name}.{namespace}.svc"), path: path.to_owned() })
}

fn trust(config: &Value) -> Result<Arc<rustls::ClientConfig>, WebhookError> {
    let bundle = config["caBundle"].as_str().unwrap_or_default();
    let pem = mizzen_api::validate::base64(bundle).map_err(|_| WebhookError::Config { what: "a readable caBundle" })?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
        // A certificate that is no root is of no use; the handshake tells.
        let _ = roots.add(certificate);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| WebhookError::Config { what: "TLS" })?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

pub(crate) async fn ask(place: &Place, config: &Value, review: &Value) -> Result<Value, WebhookError> {
    let failed = |operation: &'static str| {
        let address = place.address.clone();
        move |source: Box<dyn std::error::Error + Send + Sync>| WebhookError::Connection { operation, address, source }
    };
    let tls = TlsConnector::from(trust(config)?);
    let stream = TcpStream::connect(&place.address).await.map_err(|error| failed("dial")(error.into()))?;
    let name = ServerName::try_from(place.name.clone()).map_err(|error| failed("name")(error.into()))?;
    let stream = tls.connect(name, stream).await.map_err(|error| failed("TLS handshake with")(error.into()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed("connect to")(error.into()))?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(&place.path)
        .header(header::HOST, &place.name)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Body::from(review.to_string()))
        .map_err(|error| failed("ask")(error.into()))?;
    let response = sender.send_request(request).await.map_err(|error| failed("Post")(error.into()))?;
    let code = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(failed("read the answer of"))?;
    connection.abort();
    if code != 200 {
        return Err(WebhookError::Answer { code });
    }
    serde_json::from_slice(&body.to_bytes()).map_err(|error| failed("decode the answer of")(error.into()))
}
