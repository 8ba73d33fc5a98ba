//! A server on loopback, and the kind that most tests define.

use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support;

pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// A server on loopback; dropped with the test.
pub(crate) struct Served {
    pub(crate) base: String,
    pub(crate) client: Client,
    shutdown: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::over(support::server().await.0).await
    }

    pub(crate) async fn over(server: std::sync::Arc<mizzen_apiserver::ApiServer>) -> Self {
        let (certificate, tls) = support::tls();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("https://{}", listener.local_addr().expect("an address"));
        let shutdown = CancellationToken::new();
        tokio::spawn(server.serve(listener, tls, shutdown.clone()));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.der().clone()).expect("a root");
        let config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client =
            Client::builder().tls_backend_preconfigured(config).timeout(Duration::from_secs(60)).build().expect("a client");
        Self { base, client, shutdown }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, kind: &str, body: String) -> Response {
        let request = self.client.request(method, format!("{}{path}", self.base));
        request.header("content-type", kind).body(body).send().await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.send(Method::GET, path, "application/json", String::new()).await).await
    }

    pub(crate) async fn create(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.send(Method::POST, path, "application/json", body.to_string()).await).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.send(Method::PUT, path, "application/json", body.to_string()).await).await
    }

    pub(crate) async fn merge(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.send(Method::PATCH, path, "application/merge-patch+json", body.to_string()).await).await
    }

    pub(crate) async fn apply(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let path = format!("{path}?fieldManager=test&fieldValidation=Strict");
        answer(self.send(Method::PATCH, &path, "application/apply-patch+yaml", body.to_owned()).await).await
    }

    /// Stores a definition and does what the controller does: accepts its names and establishes it.
    pub(crate) async fn define(&self, definition: &Value) {
        let (code, stored) = self.create(DEFINITIONS, definition).await;
        assert_eq!(code, 201, "{stored}");
        self.establish(stored).await;
    }

    pub(crate) async fn establish(&self, mut definition: Value) {
        definition["status"]["acceptedNames"] = definition["spec"]["names"].clone();
        let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "Test", "message": ""});
        definition["status"]["conditions"] = json!([condition("NamesAccepted"), condition("Established")]);
        let name = definition["metadata"]["name"].as_str().expect("a name").to_owned();
        let (code, told) = self.put(&format!("{DEFINITIONS}/{name}/status"), &definition).await;
        assert_eq!(code, 200, "{told}");
    }
}

pub(crate) async fn answer(response: Response) -> (StatusCode, Value) {
    let code = response.status();
    (code, response.json().await.expect("a JSON body"))
}

/// The next event of a watch; `rest` is what has come of those behind it.
pub(crate) async fn event(watch: &mut Response, rest: &mut Vec<u8>) -> Value {
    loop {
        if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            return serde_json::from_slice(&line).expect("is JSON");
        }
        rest.extend_from_slice(&watch.chunk().await.expect("a chunk").expect("the watch goes on"));
    }
}

pub(crate) fn definition(spec_schema: Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": spec_schema,
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                    "labelSelectorPath": ".status.selector"}},
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "additionalPrinterColumns": [
                    {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]}]}})
}

pub(crate) fn widget_schema() -> Value {
    json!({"type": "object", "properties": {
        "color": {"type": "string", "enum": ["red", "blue"]},
        "replicas": {"type": "integer", "minimum": 0, "default": 1},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
            "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}, "name": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        "x-kubernetes-validations": [
            {"rule": "self.color != 'blue' || self.replicas < 3", "message": "blue ones are few"},
            {"rule": "!has(oldSelf.color) || self.color == oldSelf.color", "message": "color is immutable", "fieldPath": ".color"}]})
}

pub(crate) fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}
