//! How the API server reaches nodes: by their own word for the address, and by the authority's for who they are.

mod support;

use std::sync::Arc;

use axum::body::Body;
use http::Request;
use mizzen_api::Object;
use mizzen_apiserver::Connect;
use mizzen_apiserver::auth::certificates::identity_of;
use mizzen_apiserver::auth::certificates::{Authority, PemPair};
use mizzen_apiserver::node_proxy::NodeProxy;
use mizzen_client::{ApiRequest, Client};
use mizzen_store::{HISTORY_BYTES, MemoryStore};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use support::gvr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

struct World {
    authority: Authority,
    client: Arc<dyn Client>,
    proxy: NodeProxy,
}

async fn world() -> World {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = Authority::generate("test", support::now()).expect("generates");
    let pair = authority.client("kube-apiserver-kubelet-client", "system:masters", support::now()).expect("signs");
    let (certificates, key) = parse(&pair);
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots(&authority));
    let tls = Arc::new(tls.with_client_auth_cert(certificates, key).expect("the key fits"));
    let store = Arc::new(MemoryStore::new(HISTORY_BYTES));
    let (_, client) = support::server_with(store.clone()).await;
    World { authority, client, proxy: NodeProxy::new(store, tls) }
}

fn parse(pair: &PemPair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("is PEM");
    (vec![certificate], PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("is PEM"))
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().certificate.as_bytes()).expect("is PEM")).expect("is a root");
    roots
}

impl World {
    async fn node(&self, name: &str, status: Value) {
        let node = json!({"metadata": {"name": name}, "status": status});
        self.client.write(ApiRequest::create(&gvr("", "v1", "nodes"), "", node)).await.expect("is stored");
    }

    /// What a client gets that asks for the log of a pod on `node`.
    async fn log(&self, node: &str) -> (u16, String) {
        let mut pod = support::pod("p");
        pod["metadata"]["namespace"] = json!("default");
        pod["spec"]["nodeName"] = json!(node);
        let pod = Arc::new(Object::new(serde_json::to_vec(&pod).expect("encodes"), 1));
        let request = Request::get("/api/v1/namespaces/default/pods/p/log").body(Body::empty()).expect("is a request");
        let response = self.proxy.connect(Arc::new(support::admin()), pod, "log", request).await;
        let code = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
        (code, String::from_utf8_lossy(&body).into_owned())
    }

    /// Serves one connection with a node's certificate; answers with the name of who asks. Gives its port.
    async fn serve_as(&self, name: &str) -> u16 {
        let (certificates, key) = parse(&self.authority.node(name, support::now()).expect("signs"));
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots(&self.authority))).build().expect("has a root");
        let tls = rustls::ServerConfig::builder().with_client_cert_verifier(verifier);
        let acceptor = TlsAcceptor::from(Arc::new(tls.with_single_cert(certificates, key).expect("the key fits")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("somebody comes");
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let certificate = stream.get_ref().1.peer_certificates().and_then(|all| all.first()).cloned().expect("is shown");
            let who = identity_of(&certificate).expect("has a name").username;
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.expect("asks");
            let path = String::from_utf8_lossy(&head[..read]).lines().next().unwrap_or_default().to_owned();
            let body = format!("{who} sent {path}");
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.expect("answers");
        });
        port
    }
}

fn at(port: u16) -> Value {
    json!({"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}})
}

#[tokio::test]
async fn a_node_is_asked_with_the_api_servers_own_certificate() {
    let world = world().await;
    world.node("edge-1", at(world.serve_as("edge-1").await)).await;
    let answer = world.log("edge-1").await;
    assert_eq!(answer, (200, "kube-apiserver-kubelet-client sent GET /containerLogs/default/p/main HTTP/1.1".to_owned()));
}

#[tokio::test]
async fn another_node_at_the_address_of_a_node_is_not_taken_for_it() {
    let world = world().await;
    world.node("edge-1", at(world.serve_as("edge-2").await)).await;
    let (code, body) = world.log("edge-1").await;
    assert_eq!(code, 500);
    assert!(body.contains("verify node edge-1 at 127.0.0.1:") && body.contains("not valid for name"), "{body}");
}

#[tokio::test]
async fn nodes_that_are_absent_silent_or_unknown_are_said_to_be() {
    let world = world().await;
    let (code, body) = world.log("gone").await;
    assert_eq!(code, 404);
    assert!(body.contains(r#"nodes \"gone\" not found"#), "{body}");
    world.node("new", json!({})).await;
    let (code, body) = world.log("new").await;
    assert_eq!(code, 500);
    assert!(body.contains("node new has not said where it is reached"), "{body}");
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("an address").port();
    world.node("off", at(nobody)).await;
    let (code, body) = world.log("off").await;
    assert_eq!(code, 500);
    assert!(body.contains("connect to node off at 127.0.0.1:") && body.contains("refused"), "{body}");
}
