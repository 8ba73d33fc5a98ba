//! A proxy on loopback with rules of a test, servers behind it, and clients before it.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::endpoint::Endpoint;
use crate::listener::Doors;
use crate::proxy::{Proxy, Route};
use crate::resolve::Speaks;
use crate::table::{ByHost, Host, Path, Rule, Table};

pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

pub(crate) fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// A server behind the proxy, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    end: CancellationToken,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Server {
    /// Answers HTTP/1.1 and HTTP/2 without TLS.
    pub(crate) async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        let (connections, end) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let (count, ended) = (connections.clone(), end.clone());
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = ended.run_until_cancelled(listener.accept()).await {
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, ended) = (answer.clone(), ended.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let answering = answer(request);
                        async move { Ok::<_, Infallible>(answering.await) }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let mut serving = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
                    tokio::select! {
                        _ = serving.as_mut() => {}
                        // As a server ends that is told to: idle connections at once, others after their answer.
                        () = ended.cancelled() => {
                            serving.as_mut().graceful_shutdown();
                            let _ = serving.await;
                        }
                    }
                });
            }
        });
        Self { address, connections, end }
    }

    /// Says its name, the path and what it was told of the client.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::start(move |request| async move {
            let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().expect("is text")).to_owned();
            let (host, told, proto) = (header("host"), header("x-forwarded-host"), header("x-forwarded-proto"));
            let (uri, version) = (request.uri().clone(), request.version());
            let _ = request.into_body().collect().await;
            Response::new(text(format!("{name} {uri} {version:?} {host} {told} {proto}")))
        })
        .await
    }
}

/// A proxy whose rules the test sets.
pub(crate) struct Door {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    cancel: CancellationToken,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(crate) fn backend(speaks: Speaks, endpoints: &[SocketAddr]) -> Arc<Backend> {
    let backend = Backend::default();
    replace(&backend, speaks, endpoints);
    Arc::new(backend)
}

pub(crate) fn replace(backend: &Backend, speaks: Speaks, endpoints: &[SocketAddr]) {
    backend.set(endpoints.iter().map(|address| Arc::new(Endpoint::new(*address, speaks))).collect());
}

impl Door {
    pub(crate) async fn open() -> Self {
        let cancel = CancellationToken::new();
        let [http, https] = [(); 2].map(|()| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds"));
        let addresses = [&http, &https].map(|listener| listener.local_addr().expect("is bound"));
        let proxy = Arc::new(Proxy::new(addresses[1].port(), cancel.clone()));
        let doors = Arc::new(Doors::new(proxy.clone(), Vec::new(), cancel.clone()).expect("has TLS"));
        for (listener, is_tls) in [(http, false), (https, true)] {
            listener.set_nonblocking(true).expect("is a socket");
            tokio::spawn(doors.clone().serve(TcpListener::from_std(listener).expect("is a socket"), is_tls));
        }
        Self { proxy, http: addresses[0], https: addresses[1], cancel }
    }

    /// Sends everything to one backend.
    pub(crate) async fn to(backend: Arc<Backend>) -> Self {
        let door = Self::open().await;
        door.rules(&[("", "/", backend)]);
        door
    }

    pub(crate) fn rules(&self, rules: &[(&str, &str, Arc<Backend>)]) {
        self.rules_with(rules, Duration::from_secs(60), false);
    }

    pub(crate) fn rules_with(&self, rules: &[(&str, &str, Arc<Backend>)], timeout: Duration, ssl_redirect: bool) {
        let rules = rules.iter().map(|(host, path, backend)| {
            let then = Arc::new(Route { backend: Some(backend.clone()), ssl_redirect, timeout });
            Rule { host: Host::parse(host), path: Path::Prefix((*path).to_owned()), is_fallback: false, then }
        });
        self.proxy.routes.store(Arc::new(Table::new(rules)));
    }

    pub(crate) fn show(&self, certificates: &[(&str, &Pair)]) {
        let mut shown = ByHost::default();
        for (host, pair) in certificates {
            shown.entry(Host::parse(host), || pair.key.clone());
        }
        self.proxy.certificates.set(shown);
    }
}

/// A certificate that trusts itself.
pub(crate) struct Pair {
    key: Arc<CertifiedKey>,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Pair {
    pub(crate) fn of(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("signs");
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("is a key");
        let certificate = made.cert.der().clone();
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(vec![certificate.clone()], key, &provider).expect("fits");
        Self { key: Arc::new(key), certificate }
    }
}

/// What the server says over TLS to a client that trusts these; with the protocol that they agree on.
pub(crate) async fn tls(
    address: SocketAddr,
    name: &str,
    trusted: &[&Pair],
    protocol: &str,
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.certificate.clone()).expect("is a certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("has versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).expect("is a name"), stream).await
}

/// Everything that is answered to these bytes until the connection is closed.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Status and body of `GET`, over a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    send(address, "GET", host, path).await
}

pub(crate) async fn send(address: SocketAddr, method: &str, host: &str, path: &str) -> (u16, String) {
    let answer = raw(address, &format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default(), body.to_owned())
}
