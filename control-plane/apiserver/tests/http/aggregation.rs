//! An API server behind an APIService: reached over TLS that both sides check, told who asks, listed in discovery.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mizzen_apiserver::Settings;
use mizzen_apiserver::auth::certificates::{Authority, PemPair};
use mizzen_client::ApiRequest;
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use parking_lot::Mutex;
use reqwest::Method;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::served::{Served, answer, frame, served_with};
use crate::support::{eventually, gvr, now};

const GROUP: &str = "wardle.example.com";
const THINGS: &str = "/apis/wardle.example.com/v1/namespaces/default/flunders";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Another API server on loopback, which only who shows a certificate of `front` gets to.
struct Remote {
    port: u16,
    authority: Authority,
    heard: Arc<Heard>,
    task: tokio::task::JoinHandle<()>,
}

/// How much was asked of it.
#[derive(Default)]
struct Heard {
    connections: AtomicUsize,
    /// The requests, by their path, and whether they were answered with what is known already.
    requests: Mutex<Vec<(String, bool)>>,
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn server_config(pair: &PemPair, clients: &str) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(clients.as_bytes()).expect("a certificate")).expect("a root");
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("a certificate")],
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key"),
        )
        .expect("the key fits the certificate");
    Arc::new(config)
}

impl Remote {
    async fn start(front: &Authority) -> Self {
        let authority = Authority::generate("remote", now()).expect("generates");
        let pair = authority.server("flunders", &["flunders.default.svc"], &[], now()).expect("signs");
        let acceptor = TlsAcceptor::from(server_config(&pair, &front.pem().certificate));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Heard::default());
        let noted = heard.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                let (acceptor, noted) = (acceptor.clone(), noted.clone());
                connections.spawn(async move {
                    // Who shows no certificate, or the wrong one, is no concern of the others.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    noted.connections.fetch_add(1, Ordering::Relaxed);
                    let answering = service_fn(|request| {
                        let noted = noted.clone();
                        async move {
                            let path = request.uri().path().to_owned();
                            let answer = answered(request).await;
                            let is_known = answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::NOT_MODIFIED);
                            noted.requests.lock().push((path, is_known));
                            answer
                        }
                    });
                    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answering);
                    let _ = served.with_upgrades().await;
                });
            }
        });
        Self { port, authority, heard, task }
    }

    fn connections(&self) -> usize {
        self.heard.connections.load(Ordering::Relaxed)
    }

    /// How often a document was asked for, and how often it was sent.
    fn asked(&self, path: &str) -> (usize, usize) {
        let requests = self.heard.requests.lock();
        let of_path = || requests.iter().filter(|(asked, _)| asked == path);
        (of_path().count(), of_path().filter(|(_, is_known)| !is_known).count())
    }

    fn bundle(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(&self.authority.pem().certificate)
    }
}

fn json_answer(content_type: &str, value: &Value) -> Response<Body> {
    Response::builder().header("content-type", content_type).body(Body::from(value.to_string())).expect("an answer")
}

/// What the other server serves: discovery, a watch of two events that stays open, an echo over another protocol, and of
/// everything else what it heard.
async fn answered(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let text = |name: &str| -> Vec<String> {
        request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok().map(str::to_owned)).collect()
    };
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    if request.headers().contains_key("upgrade") {
        let mut request = request;
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.expect("is upgraded"));
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).await.expect("reads");
            stream.write_all(&heard).await.expect("answers");
        });
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        return Ok(response.header("connection", "upgrade").header("upgrade", "echo").body(Body::empty()).expect("an answer"));
    }
    if query.contains("watch=true") {
        let frames = ["{\"type\":\"ADDED\"}\n", "{\"type\":\"MODIFIED\"}\n"].map(|frame| Ok::<_, Infallible>(Bytes::from(frame)));
        let open = futures::StreamExt::chain(futures::stream::iter(frames), futures::stream::pending());
        return Ok(Response::new(Body::from_stream(open)));
    }
    let resource = json!({"resource": "flunders", "scope": "Namespaced", "singularResource": "flunder", "verbs": ["list"],
        "responseKind": {"group": GROUP, "version": "v1", "kind": "Flunder"}});
    if path == "/openapi/v2" {
        let swagger = json!({"swagger": "2.0", "paths": {}, "definitions": {}});
        let is_known = text("if-none-match") == ["\"one\""];
        let answer = Response::builder().header("content-type", "application/json").header("etag", "\"one\"");
        return Ok(match is_known {
            true => answer.status(StatusCode::NOT_MODIFIED).body(Body::empty()).expect("an answer"),
            false => answer.body(Body::from(swagger.to_string())).expect("an answer"),
        });
    }
    Ok(match path.as_str() {
        "/apis" => json_answer(
            AGGREGATED,
            &json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": [
                {"metadata": {"name": GROUP}, "versions": [
                    {"version": "v1", "resources": [resource]}, {"version": "v2", "resources": [resource]}]}]}),
        ),
        "/openapi/v3" => {
            let url = "/openapi/v3/apis/wardle.example.com/v1?hash=ABC";
            json_answer("application/json", &json!({"paths": {"apis/wardle.example.com/v1": {"serverRelativeURL": url}}}))
        }
        _ => json_answer(
            "application/json",
            &json!({"path": path, "query": query, "user": text("x-remote-user"), "groups": text("x-remote-group"),
                "authorization": text("authorization")}),
        ),
    })
}

/// A server that shows the front proxy's certificate and keeps its APIServices.
async fn aggregating(front: &Authority) -> Served {
    let pair = front.lone_client("front-proxy-client", now()).expect("signs");
    let settings = Settings { front_proxy: Some(pair), ..Settings::default() };
    let served = served_with(Arc::new(MemoryStore::new(HISTORY_BYTES)), settings).await;
    let server = served.server.clone();
    tokio::spawn(async move { server.keep_api_services().await });
    served
}

async fn claim(served: &Served, remote: &Remote, bundle: &str) {
    let service = json!({"metadata": {"name": "flunders"}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    served.admin.write(ApiRequest::create(&gvr("", "v1", "services"), "default", service)).await.expect("creates");
    claim_version(served, remote, bundle, "v1").await;
}

async fn claim_version(served: &Served, remote: &Remote, bundle: &str, version: &str) {
    let claimed = json!({"metadata": {"name": format!("{version}.{GROUP}")}, "spec": {"group": GROUP, "version": version,
        "groupPriorityMinimum": 2000, "versionPriority": 15, "caBundle": bundle,
        "service": {"namespace": "default", "name": "flunders", "port": remote.port}}});
    let services = gvr("apiregistration.k8s.io", "v1", "apiservices");
    served.admin.write(ApiRequest::create(&services, "", claimed)).await.expect("creates");
}

/// Waits until the APIService's condition `Available` has this reason.
async fn until_available(served: &Served, reason: &str) -> Value {
    let path = format!("/apis/apiregistration.k8s.io/v1/apiservices/v1.{GROUP}");
    eventually(reason, async || {
        let (_, service) = served.get(&path).await;
        let condition = service["status"]["conditions"][0].clone();
        if condition["reason"] == reason { Ok(condition) } else { Err(condition.to_string()) }
    })
    .await
}

/// Waits until a path answers as `wanted` says.
async fn until_answered(served: &Served, path: &str, accept: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(path, async || {
        let response = served.request(Method::GET, path).header("accept", accept).send().await.expect("an answer");
        let last: Value = response.json().await.unwrap_or_default();
        if wanted(&last) { Ok(last) } else { Err(last.to_string()) }
    })
    .await
}

fn version_of(document: &Value) -> Option<&Value> {
    let items = document["items"].as_array()?;
    items.iter().find(|item| item["metadata"]["name"] == GROUP)?["versions"].get(0)
}

#[tokio::test]
async fn requests_go_on_with_the_user_and_without_their_credentials() {
    let front = Authority::generate("front", now()).expect("generates");
    let (remote, served) = (Remote::start(&front).await, aggregating(&front).await);
    claim(&served, &remote, &remote.bundle()).await;
    let condition = until_available(&served, "Passed").await;
    assert_eq!((&condition["status"], &condition["message"]), (&json!("True"), &json!("all checks passed")));
    let heard = until_answered(&served, &format!("{THINGS}?limit=5"), "application/json", |heard| heard["path"] == THINGS).await;
    assert_eq!((&heard["query"], &heard["user"]), (&json!("limit=5"), &json!(["admin"])));
    assert_eq!(heard["groups"], json!(["system:masters", "system:authenticated"]));
    let forged = served.request(Method::POST, THINGS).header("authorization", "Bearer mine").header("x-remote-user", "root");
    let (code, heard) = answer(forged.body("{}").send().await.expect("an answer")).await;
    assert_eq!((code.as_u16(), &heard["user"], &heard["authorization"]), (200, &json!(["admin"]), &json!([])));
    let refused = served.request(Method::GET, THINGS).header("authorization", "Bearer nobody").send().await.expect("an answer");
    let (code, status) = answer(refused).await;
    assert_eq!(code.as_u16(), 403);
    let why =
        "User \"nobody\" cannot list resource \"flunders\" in API group \"wardle.example.com\" in the namespace \"default\"";
    assert!(status["message"].as_str().is_some_and(|message| message.contains(why)), "{status}");
}

#[tokio::test]
async fn watches_and_other_protocols_go_through() {
    let front = Authority::generate("front", now()).expect("generates");
    let (remote, served) = (Remote::start(&front).await, aggregating(&front).await);
    claim(&served, &remote, &remote.bundle()).await;
    until_available(&served, "Passed").await;
    until_answered(&served, THINGS, "application/json", |heard| heard["path"] == THINGS).await;
    let watch = served.request(Method::GET, &format!("{THINGS}?watch=true")).send().await.expect("an answer");
    let (mut stream, mut rest) = (watch.bytes_stream(), Vec::new());
    assert_eq!(frame(&mut stream, &mut rest).await["type"], "ADDED");
    assert_eq!(frame(&mut stream, &mut rest).await["type"], "MODIFIED");
    // Of HTTP/1.1, which alone has upgrades.
    let mut stream = served.connected(&[b"http/1.1"]).await;
    let upgrade = format!("GET {THINGS}/a/shell HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    stream.write_all(upgrade.as_bytes()).await.expect("asks");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream.write_all(b"ping").await.expect("writes");
    let mut heard = [0; 4];
    stream.read_exact(&mut heard).await.expect("reads");
    assert_eq!(&heard, b"ping");
}

#[tokio::test]
async fn what_the_other_server_serves_stands_in_discovery_and_openapi() {
    let front = Authority::generate("front", now()).expect("generates");
    let (remote, served) = (Remote::start(&front).await, aggregating(&front).await);
    claim(&served, &remote, &remote.bundle()).await;
    let is_current = |document: &Value| version_of(document).is_some_and(|version| version["freshness"] == "Current");
    let document = until_answered(&served, "/apis", AGGREGATED, is_current).await;
    assert_eq!(version_of(&document).map(|version| version["resources"][0]["resource"].clone()), Some(json!("flunders")));
    let (_, groups) = served.get("/apis").await;
    let names: Vec<&str> =
        groups["groups"].as_array().expect("groups").iter().filter_map(|group| group["name"].as_str()).collect();
    let place = |group: &str| names.iter().position(|name| *name == group);
    assert_eq!(place("apiregistration.k8s.io"), Some(0));
    assert!(
        place(GROUP).is_some_and(|own| place("apps").is_some_and(|apps| apps < own)),
        "Kubernetes' groups come first: {names:?}"
    );
    let (code, group) = served.get(&format!("/apis/{GROUP}")).await;
    assert_eq!((code.as_u16(), &group["preferredVersion"]["groupVersion"]), (200, &json!("wardle.example.com/v1")));
    let (_, index) = served.get("/openapi/v3").await;
    let url = index["paths"]["apis/wardle.example.com/v1"]["serverRelativeURL"].as_str().expect("a URL");
    assert!(index["paths"]["api/v1"].is_object());
    let (_, heard) = served.get(url).await;
    assert_eq!((&heard["path"], &heard["query"]), (&json!("/openapi/v3/apis/wardle.example.com/v1"), &json!("hash=ABC")));
}

#[tokio::test]
async fn a_server_that_is_gone_or_not_believed_is_unavailable() {
    let front = Authority::generate("front", now()).expect("generates");
    let (remote, served) = (Remote::start(&front).await, aggregating(&front).await);
    let other = Authority::generate("other", now()).expect("generates");
    let wrong = base64::engine::general_purpose::STANDARD.encode(&other.pem().certificate);
    claim(&served, &remote, &wrong).await;
    let condition = until_available(&served, "FailedDiscoveryCheck").await;
    assert_eq!(condition["status"], "False");
    let message = condition["message"].as_str().unwrap_or_default();
    assert!(message.starts_with(&format!("failing or missing response from https://localhost:{}", remote.port)), "{message}");
    let refused = served.request(Method::GET, THINGS).send().await.expect("an answer");
    assert_eq!(refused.status().as_u16(), 503);
    assert_eq!(refused.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(refused.text().await.expect("a body"), "service unavailable\n");
    let page = served.request(Method::GET, "/metrics").send().await.expect("an answer").text().await.expect("text");
    assert!(page.contains("\naggregator_unavailable_apiservice{name=\"v1."), "{page}");
    let is_stale = |document: &Value| version_of(document).is_some_and(|version| version["freshness"] == "Stale");
    until_answered(&served, "/apis", AGGREGATED, is_stale).await;
    let services = gvr("", "v1", "services");
    let gone = ApiRequest::delete(&services, "default", "flunders", mizzen_client::DeleteOptions::default());
    served.admin.write(gone).await.expect("deletes");
    let condition = until_available(&served, "ServiceNotFound").await;
    assert_eq!(condition["message"], "service/flunders in \"default\" is not present");
}

#[tokio::test]
async fn connections_are_kept_from_one_request_to_the_next() {
    let front = Authority::generate("front", now()).expect("generates");
    let (remote, served) = (Remote::start(&front).await, aggregating(&front).await);
    claim(&served, &remote, &remote.bundle()).await;
    until_available(&served, "Passed").await;
    until_answered(&served, THINGS, "application/json", |heard| heard["path"] == THINGS).await;
    for _ in 0..100 {
        served.get(THINGS).await;
    }
    // Looks at the server, several at once, have theirs too.
    let open = remote.connections();
    assert!(open < 20, "{open} connections");
}

#[tokio::test]
async fn a_service_is_asked_once_for_all_its_versions_and_sends_what_is_new() {
    let front = Authority::generate("front", now()).expect("generates");
    let (remote, served) = (Remote::start(&front).await, aggregating(&front).await);
    claim(&served, &remote, &remote.bundle()).await;
    until_available(&served, "Passed").await;
    let is_current = |versions: usize| {
        move |document: &Value| {
            let items = document["items"].as_array().into_iter().flatten();
            let group = items.filter(|item| item["metadata"]["name"] == GROUP);
            let current = group.flat_map(|group| group["versions"].as_array().into_iter().flatten());
            current.filter(|version| version["freshness"] == "Current").count() == versions
        }
    };
    until_answered(&served, "/apis", AGGREGATED, is_current(1)).await;
    claim_version(&served, &remote, &remote.bundle(), "v2").await;
    until_answered(&served, "/apis", AGGREGATED, is_current(2)).await;
    let (asked, sent) = remote.asked("/openapi/v2");
    assert_eq!(sent, 1, "of {asked} times that it was asked for");
}

#[tokio::test]
async fn components_of_the_process_learn_of_the_other_servers_kinds_and_use_them() {
    let front = Authority::generate("front", now()).expect("generates");
    let (remote, served) = (Remote::start(&front).await, aggregating(&front).await);
    claim(&served, &remote, &remote.bundle()).await;
    let discovered = eventually("the kind", async || {
        let discovery = served.admin.discover().await.expect("discovers");
        let found = discovery.preferred().find(|served| *served.resource.group == *GROUP).cloned();
        found.ok_or_else(|| format!("{:?}", discovery.failed))
    });
    let discovered = discovered.await;
    assert_eq!((&*discovered.resource.resource, discovered.kind.as_str()), ("flunders", "Flunder"));
    let got = served.admin.get(&discovered.resource, "default", "a").await.expect("is answered");
    let heard = got.value().expect("is JSON");
    assert_eq!((&heard["path"], &heard["user"]), (&json!(format!("{THINGS}/a")), &json!(["admin"])));
    // Who may not is told so here.
    let nobody = served.server.client(mizzen_apiserver::auth::Identity::component("nobody", &[]));
    let refused = nobody.get(&discovered.resource, "default", "a").await.expect_err("is refused");
    assert_eq!(refused.code, 403);
}
