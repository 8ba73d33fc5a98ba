//! The node's own HTTPS API, with the kubelet's paths. The API server comes by the node's tunnel, too.

mod access;
mod channels;
mod logs;
mod port_forward;
mod refusal;
mod routes;
mod streams;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::pod::manager::Pods;
use crate::shared::Shared;
use access::{Access, Caller, Decisions};

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take for a request's head; also how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(30);

/// What handlers use.
#[derive(Clone)]
struct State {
    shared: Arc<Shared>,
    pods: Arc<Pods>,
    paces: Arc<usage::Paces>,
    spent: Arc<usage::Spent>,
}

pub(crate) fn router(shared: Arc<Shared>, pods: Arc<Pods>) -> Router {
    routes::router(State { shared, pods, paces: Arc::default(), spent: Arc::default() })
}

/// Serves those who may ask until cancelled.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    shared: Arc<Shared>,
    router: Router,
    cancel: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let decisions = Arc::new(Decisions::new(shared));
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (acceptor, router, cancel) = (acceptor.clone(), router.clone(), cancel.clone());
                let decisions = decisions.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = connection(stream, acceptor, decisions, router) => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "node API: connection not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, decisions: Arc<Decisions>, router: Router) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "node API: no TLS"),
        Err(_) => return tracing::debug!("node API: TLS handshake timed out"),
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let access = Access { decisions, caller: Caller::of(certificates.first()) };
    let router = router.layer(middleware::from_fn_with_state(access, access::guard));
    converse(TokioIo::new(stream), router).await;
}

/// Answers whoever is at the other end, until they leave.
pub(crate) async fn converse(connection: impl Read + Write + Unpin + Send + 'static, router: Router) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let serving = builder.serve_connection(connection, TowerToHyperService::new(router));
    if let Err(error) = serving.with_upgrades().await {
        tracing::debug!(%error, "node API: connection ended");
    }
}
