//! A server over a store in memory, where everybody may do everything, for tests and the example.

#![allow(dead_code, reason = "each of the files that share this one uses a part of it")]

pub(crate) mod webhook;

use std::sync::Arc;

use http::HeaderMap;
use mizzen_api::{GroupVersionResource, Registry, Status};
use mizzen_apiserver::auth::{Action, Authorizer, Decision, Identity};
use mizzen_apiserver::virtuals::Virtuals;
use mizzen_apiserver::{ApiServer, Authenticate, Peer, ServerConfig, Settings};
use mizzen_client::{ApiRequest, Client};
use mizzen_store::{HISTORY_BYTES, MemoryStore, Store};
use serde_json::{Value, json};

/// Allows everything except to the user `nobody`.
pub(crate) struct Permissive;

impl Authorizer for Permissive {
    fn authorize(&self, user: &Identity, _action: &Action<'_>) -> Decision {
        match user.username.as_str() {
            "nobody" => Decision::NoOpinion { reason: String::new() },
            _ => Decision::Allow { reason: String::new() },
        }
    }
}

/// Everybody is an administrator, save who says `Authorization: Bearer nobody` or `wrong`.
impl Authenticate for Permissive {
    fn authenticate(&self, _peer: Option<&Peer>, headers: &HeaderMap) -> Result<Option<Arc<Identity>>, Status> {
        match headers.get("authorization").and_then(|value| value.to_str().ok()) {
            Some("Bearer nobody") => Ok(Some(Arc::new(Identity::component("nobody", &[])))),
            Some("Bearer wrong") => Err(Status::new(mizzen_api::Reason::Unauthorized, "Unauthorized")),
            _ => Ok(Some(Arc::new(admin()))),
        }
    }
}

pub(crate) fn admin() -> Identity {
    Identity::component("admin", &["system:masters"])
}

pub(crate) fn now() -> jiff::Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the edge of the process: tests and the example run in real time")]
    jiff::Timestamp::now()
}

pub(crate) fn server_over(store: Arc<dyn Store>) -> Arc<ApiServer> {
    ApiServer::new(config(store))
}

pub(crate) fn config(store: Arc<dyn Store>) -> ServerConfig {
    ServerConfig {
        store,
        registry: Arc::new(Registry::builtin()),
        authorizer: Arc::new(Permissive),
        authenticator: Arc::new(Permissive),
        clock: Arc::new(now),
        virtuals: Virtuals::default(),
        connect: None,
    }
}

/// A server with the namespace `default` and its service account.
pub(crate) async fn server() -> (Arc<ApiServer>, Arc<dyn Client>) {
    server_with(Arc::new(MemoryStore::new(HISTORY_BYTES))).await
}

pub(crate) async fn server_with(store: Arc<dyn Store>) -> (Arc<ApiServer>, Arc<dyn Client>) {
    server_set(store, Settings::default()).await
}

pub(crate) async fn server_set(store: Arc<dyn Store>, settings: Settings) -> (Arc<ApiServer>, Arc<dyn Client>) {
    server_of(config(store), settings).await
}

pub(crate) async fn server_of(config: ServerConfig, settings: Settings) -> (Arc<ApiServer>, Arc<dyn Client>) {
    let server = ApiServer::with(config, settings);
    let client = server.client(admin());
    for (resource, namespace, object) in [
        (gvr("", "v1", "namespaces"), "", json!({"metadata": {"name": "default"}})),
        (gvr("", "v1", "serviceaccounts"), "default", json!({"metadata": {"name": "default"}})),
    ] {
        client.write(ApiRequest::create(&resource, namespace, object)).await.expect("the first objects are stored");
    }
    (server, client)
}

/// How long a state may take to come about on a busy machine before the test fails.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Asks until the answer is there; what was seen instead is said in the end.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(seen) => assert!(tokio::time::Instant::now() < deadline, "{what} never came about; last seen: {seen}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

pub(crate) fn gvr(group: &str, version: &str, resource: &str) -> GroupVersionResource {
    GroupVersionResource::new(group, version, resource)
}

/// A certificate for loopback that signs itself, and the TLS configuration of a server that shows it.
pub(crate) fn tls() -> (rcgen::Certificate, Arc<rustls::ServerConfig>) {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("a certificate");
    let key = rustls_pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .expect("the key fits the certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (signed.cert, Arc::new(config))
}

/// A pod that passes validation.
pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
           "spec": {"containers": [{"name": "main", "image": "example.com/a:1"}]}})
}

/// The `spec.request` of somebody called jane in the groups devs and ops.
pub(crate) fn certificate_request() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(include_bytes!("../../../api/testdata/request.pem"))
}
