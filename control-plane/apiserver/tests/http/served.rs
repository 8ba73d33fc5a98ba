//! A server on loopback, and what the tests ask it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use mizzen_store::{HISTORY_BYTES, MemoryStore, Store};
use reqwest::{Client, Method, Response, StatusCode};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::support;

/// A server on loopback and a client that trusts it; dropped with the test.
pub(crate) struct Served {
    pub(crate) base: String,
    pub(crate) client: Client,
    /// Whom the client trusts.
    pub(crate) roots: rustls::RootCertStore,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: tokio::task::JoinHandle<()>,
    /// The same server, in process, as its administrator.
    pub(crate) admin: Arc<dyn mizzen_client::Client>,
    pub(crate) server: Arc<mizzen_apiserver::ApiServer>,
}

pub(crate) async fn served() -> Served {
    served_over(Arc::new(MemoryStore::new(HISTORY_BYTES))).await
}

pub(crate) async fn served_over(store: Arc<dyn Store>) -> Served {
    served_with(store, mizzen_apiserver::Settings::default()).await
}

pub(crate) async fn served_with(store: Arc<dyn Store>, settings: mizzen_apiserver::Settings) -> Served {
    served_of(support::config(store), settings).await
}

pub(crate) async fn served_of(config: mizzen_apiserver::ServerConfig, settings: mizzen_apiserver::Settings) -> Served {
    let (server, admin) = support::server_of(config, settings).await;
    let (certificate, tls) = support::tls();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("https://{}", listener.local_addr().expect("an address"));
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(server.clone().serve(listener, tls, shutdown.clone()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).expect("a root");
    let config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let client = Client::builder().tls_backend_preconfigured(config).timeout(Duration::from_secs(30)).build().expect("a client");
    Served { base, client, roots, shutdown, serving, admin, server }
}

impl Served {
    /// A connection of its own that offers these protocols.
    pub(crate) async fn connected(&self, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TcpStream::connect(self.base.trim_start_matches("https://")).await.expect("connects");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("shakes hands")
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path).send().await.expect("an answer")).await
    }

    pub(crate) async fn create(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(body).send().await.expect("an answer")).await
    }
}

pub(crate) async fn answer(response: Response) -> (StatusCode, Value) {
    let code = response.status();
    (code, response.json().await.expect("a JSON body"))
}

pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// The next whole frame of a watch.
pub(crate) async fn frame(
    stream: &mut (impl futures::Stream<Item = reqwest::Result<bytes::Bytes>> + Unpin),
    rest: &mut Vec<u8>,
) -> Value {
    loop {
        if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            return serde_json::from_slice(&line).expect("a JSON frame");
        }
        let chunk = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("a frame in time");
        rest.extend_from_slice(&chunk.expect("the watch goes on").expect("a chunk"));
    }
}
