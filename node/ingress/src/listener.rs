//! Where clients come in: connections with their limits, TLS, and which HTTP they speak.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use mizzen_network::Subnet;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::IngressError;
use crate::headers::Client;
use crate::idle::{Call, Calls, LookedAt};
use crate::proxy::Proxy;
use crate::workers::Workers;

/// Connections of all clients at once; more wait to be accepted.
const CONNECTIONS: usize = 8192;
/// How long a client may take for its TLS handshake, and for the headers of a request, idle time before them included.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(60);
/// How long a client may take nothing of what is sent to it, in milliseconds.
const STUCK: u32 = 60_000;
/// Headers of a request, in number and in bytes.
const HEADER_COUNT: usize = 128;
const HEADER_BYTES: u32 = 64 << 10;
/// Requests that one connection of HTTP/2 may have at once.
const STREAMS: u32 = 128;
/// How long requests may run on after the proxy was told to stop.
const DRAIN: Duration = Duration::from_secs(4);

/// All listeners of a proxy.
pub(crate) struct Doors {
    proxy: Arc<Proxy>,
    tls: TlsAcceptor,
    /// Who may say whom it asks for.
    trusted: Vec<Subnet>,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    workers: Workers,
    cancel: CancellationToken,
}

impl Doors {
    /// # Errors
    /// When TLS cannot be set up, or there are no threads to be had.
    pub(crate) fn new(proxy: Arc<Proxy>, trusted: Vec<Subnet>, cancel: CancellationToken) -> Result<Self, IngressError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(IngressError::Tls)?.with_no_client_auth();
        let mut tls = builder.with_cert_resolver(proxy.certificates.clone());
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            proxy,
            tls: TlsAcceptor::from(Arc::new(tls)),
            trusted,
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            connections: TaskTracker::new(),
            workers: Workers::start().map_err(IngressError::Threads)?,
            cancel,
        })
    }

    /// Serves clients of a listener until the proxy is told to stop.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, is_tls: bool) {
        let Ok(port) = listener.local_addr().map(|address| HeaderValue::from(address.port())) else { return };
        loop {
            let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = self.cancel.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            // Its events are to come to the thread that serves it.
            match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                Ok((stream, peer)) => {
                    let (doors, port) = (self.clone(), port.clone());
                    self.workers.spawn(self.connections.track_future(async move {
                        let served = match TcpStream::from_std(stream) {
                            Ok(stream) => doors.connection(stream, peer, port, is_tls).await,
                            Err(error) => Err(error.to_string()),
                        };
                        if let Err(why) = served {
                            tracing::debug!(%peer, why, "connection ended");
                        }
                        drop(permit);
                    }));
                }
                Err(error) => {
                    // Out of file descriptors, most often: others have to close first.
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Waits for requests under way to end, for a few seconds.
    pub(crate) async fn closed(&self) {
        self.connections.close();
        if tokio::time::timeout(DRAIN, self.connections.wait()).await.is_err() {
            tracing::info!(left = self.connections.len(), "requests to ingresses were still running");
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, port: HeaderValue, is_tls: bool) -> Result<(), String> {
        stream.set_nodelay(true).map_err(|error| format!("set TCP_NODELAY: {error}"))?;
        // Where the kernel does not know it, clients that take nothing are kept.
        let _ = setsockopt(&stream, sockopt::TcpUserTimeout, &STUCK);
        let address = peer.ip().to_canonical();
        let is_trusted = self.trusted.iter().any(|range| range.contains(address));
        let shown = HeaderValue::try_from(address.to_string()).map_err(|error| error.to_string())?;
        let client = Arc::new(Client { address: shown, port, is_tls, is_trusted });
        if !is_tls {
            return self.speak(stream, client).await;
        }
        match tokio::time::timeout(HANDSHAKE, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream, client).await,
            Ok(Err(error)) => Err(format!("TLS handshake: {error}")),
            Err(_) => Err("TLS handshake: timed out".to_owned()),
        }
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        client: Arc<Client>,
    ) -> Result<(), String> {
        let begun = Arc::new(AtomicBool::new(false));
        let (proxy, has_begun) = (self.proxy.clone(), begun.clone());
        let service = service_fn(move |request| {
            begun.store(true, Ordering::Relaxed);
            let (proxy, client) = (proxy.clone(), client.clone());
            async move { Ok::<_, Infallible>(proxy.handle(&client, request).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(LookedAt)
            .header_read_timeout(HEADERS)
            .max_headers(HEADER_COUNT)
            .max_buf_size(HEADER_BYTES as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BYTES)
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(Some(HEADERS));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let (mut calls, accepted) = (Calls::new(&self.cancel), Instant::now());
        loop {
            let call = tokio::select! {
                biased;
                served = connection.as_mut() => return served.map_err(|error| error.to_string()),
                call = calls.next() => call,
            };
            match call {
                Call::End => break connection.as_mut().graceful_shutdown(),
                // Before it is clear which HTTP a client speaks, nobody else waits for its headers in bounded time.
                Call::Look if accepted.elapsed() > HEADERS && !has_begun.load(Ordering::Relaxed) => {
                    return Err(format!("no request within {HEADERS:?}"));
                }
                Call::Look => {}
            }
        }
        connection.await.map_err(|error| error.to_string())
    }
}
