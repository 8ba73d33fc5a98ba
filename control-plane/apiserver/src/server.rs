//! The server: what it is made of, and how it is reached.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use mizzen_api::{Registry, ServiceAddresses};
use mizzen_client::Client;
use mizzen_extensions::plugins::{Policies, SchedulerPlugins};
use mizzen_store::Store;
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Auditor, Chain, Dynamic};
use crate::aggregation::{self, Aggregation};
use crate::audit::Audit;
use crate::auth::certificates::PemPair;
use crate::auth::{Authorizer, Clock, Identity};
use crate::authenticate::{Authenticate, Peer};
use crate::connect::Connect;
use crate::custom::CustomKinds;
use crate::discovery::Discovery;
use crate::fairness::{Fairness, PATIENCE, Speaker, upkeep};
use crate::http::{Connection, Handler};
use crate::in_process::InProcess;
use crate::large::{Sending, Threads};
use crate::metrics::Metrics;
use crate::openapi::OpenApi;
use crate::pipeline::Pipeline;
use crate::virtuals::Virtuals;
use crate::work_queues::WorkQueues;

/// How long requests may run on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// Requests that one connection of HTTP/2 may have at once.
const STREAMS: u32 = 1000;

/// What an API server works with.
pub struct ServerConfig {
    pub store: Arc<dyn Store>,
    pub registry: Arc<Registry>,
    pub authorizer: Arc<dyn Authorizer>,
    pub authenticator: Arc<dyn Authenticate>,
    pub clock: Clock,
    /// Reviews, tokens: what is answered and not stored.
    pub virtuals: Virtuals,
    /// Without one, `pods/log`, `exec`, `attach` and `portforward` answer 404.
    pub connect: Option<Arc<dyn Connect>>,
}

/// How long a client may take before it is given up: connections and seats are for those who use them.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From there, or from the last answer of HTTP/1.1, to the end of a request's headers.
    pub headers: Duration,
    /// For the body of a request.
    pub body: Duration,
}

impl Default for Deadlines {
    /// As in Kubernetes: 32 s for headers, and 60 s for a request.
    fn default() -> Self {
        Self { handshake: Duration::from_secs(10), headers: Duration::from_secs(32), body: Duration::from_secs(60) }
    }
}

/// What an API server may be set to.
pub struct Settings {
    /// Requests that run at once, of all priority levels together.
    pub concurrency: u32,
    /// How long a request waits at most for its turn to run.
    pub patience: Duration,
    /// Without one, requests are not noted.
    pub audit: Option<Arc<Audit>>,
    /// What services get unless they ask for something.
    pub services: ServiceAddresses,
    /// What proves to API servers behind an APIService that a request comes from this one; without it they are shown nothing.
    pub front_proxy: Option<PemPair>,
    pub deadlines: Deadlines,
    /// The admission policies that are Wasm components; without it, their objects are stored and not asked.
    pub policies: Option<Arc<dyn Policies>>,
    /// The scheduler plugins that are Wasm components, for metrics.
    pub scheduler_plugins: Option<Arc<dyn SchedulerPlugins>>,
    /// The work queues of controllers in this process, for metrics.
    pub work_queues: Option<WorkQueues>,
    /// After so long, policies are asked again about what is stored.
    pub policy_audit: Duration,
}

impl Default for Settings {
    /// What Kubernetes lets read (400) and write (200) at once.
    fn default() -> Self {
        Self {
            concurrency: 600,
            patience: PATIENCE,
            audit: None,
            services: ServiceAddresses::default(),
            front_proxy: None,
            deadlines: Deadlines::default(),
            policies: None,
            scheduler_plugins: None,
            work_queues: None,
            policy_audit: Duration::from_secs(600),
        }
    }
}

pub struct ApiServer {
    handler: Arc<Handler>,
    policy_audit: Duration,
    large_answers: Arc<Threads>,
}

impl ApiServer {
    pub fn new(config: ServerConfig) -> Arc<Self> {
        Self::with(config, Settings::default())
    }

    pub fn with(config: ServerConfig, settings: Settings) -> Arc<Self> {
        let shutdown = CancellationToken::new();
        let fairness = Fairness::start(config.store.clone(), (settings.concurrency, settings.patience), shutdown.clone());
        let custom = CustomKinds::start(config.store.clone(), config.registry.clone(), shutdown.clone());
        let aggregation = Aggregation::start(config.store.clone(), settings.front_proxy.as_ref(), shutdown.clone());
        let dynamic = Dynamic::start(config.store.clone(), settings.policies, shutdown.clone());
        let pipeline = Arc::new(Pipeline {
            store: config.store,
            registry: config.registry.clone(),
            authorizer: config.authorizer,
            clock: config.clock,
            admission: Chain::builtin(dynamic),
            virtuals: config.virtuals,
            custom,
            services: settings.services,
        });
        let handler = Handler {
            pipeline,
            authenticator: config.authenticator,
            connector: config.connect,
            discovery: Arc::new(Discovery::new(config.registry.clone(), aggregation.clone())),
            aggregation,
            openapi: OpenApi::new(config.registry),
            metrics: Metrics::default(),
            fairness,
            audit: settings.audit,
            deadlines: settings.deadlines,
            scheduler_plugins: settings.scheduler_plugins,
            work_queues: settings.work_queues,
            shutdown,
        };
        Arc::new(Self { handler: Arc::new(handler), policy_audit: settings.policy_audit, large_answers: Arc::default() })
    }

    /// What is served.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.handler.pipeline.registry
    }

    /// The API for a component of this process, acting as `identity`.
    pub fn client(&self, identity: Identity) -> Arc<dyn Client> {
        Arc::new(InProcess {
            pipeline: self.handler.pipeline.clone(),
            identity: Arc::new(identity),
            fairness: self.handler.fairness.clone(),
            audit: self.handler.audit.clone(),
            aggregation: self.handler.aggregation.clone(),
            discovery: self.handler.discovery.clone(),
            shutdown: self.handler.shutdown.clone(),
        })
    }

    /// Keeps the objects of flow control in order until the server ends: those of the cluster's start, and what is said of
    /// all flow schemas.
    pub async fn keep_flow_control(&self) {
        let Handler { fairness, pipeline, shutdown, .. } = &*self.handler;
        let client = self.client(Identity::component("system:apiserver", &["system:masters"]));
        upkeep::run(fairness.clone(), client, pipeline.clock.clone(), shutdown.clone()).await;
    }

    /// Tells of every APIService whether who is behind it answers, until the server ends.
    pub async fn keep_api_services(&self) {
        let Handler { aggregation, pipeline, shutdown, .. } = &*self.handler;
        let client = self.client(Identity::component("system:kube-aggregator", &["system:masters"]));
        aggregation::keep(aggregation.clone(), client, pipeline.clock.clone(), shutdown.clone()).await;
    }

    /// Asks admission policies about what is stored, and reports what they say, until the server ends.
    pub async fn keep_policy_reports(&self) {
        let Handler { pipeline, shutdown, .. } = &*self.handler;
        let client = self.client(Identity::component("system:mizzen:policy-audit", &["system:masters"]));
        Auditor::new(pipeline.clone(), client, self.policy_audit).run(shutdown.clone()).await;
    }

    /// Serves HTTP/1.1 and HTTP/2 over TLS until `shutdown` is cancelled; then watches end, in process too, and
    /// requests get five seconds to finish.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tls: Arc<rustls::ServerConfig>, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let sending = Sending::default();
                    let serving = self.clone().connection(stream, tls.clone(), sending.clone(), shutdown.clone());
                    let threads = self.large_answers.clone();
                    connections.spawn(async move {
                        if let Some(Err(error)) = threads.serve(Box::pin(serving), sending).await {
                            tracing::debug!(%peer, error, "connection ended");
                        }
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most often: others have to close first.
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.handler.shutdown.cancel();
        connections.close();
        if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
            tracing::info!(left = connections.len(), "requests were still running at shutdown");
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        tls: Arc<rustls::ServerConfig>,
        sending: Sending,
        shutdown: CancellationToken,
    ) -> Result<(), String> {
        let address = stream.peer_addr().map(|peer| peer.ip().to_canonical()).ok();
        stream.set_nodelay(true).map_err(|error| format!("set TCP_NODELAY: {error}"))?;
        let deadlines = self.handler.deadlines;
        let speaker = Speaker::at(address);
        // What follows costs as much as several requests, and a flood of new connections is one of them.
        let is_crowd = self.handler.fairness.comes(&speaker);
        sending.is_to_a_crowd(is_crowd);
        if is_crowd {
            // By the next time it has moved.
            tokio::task::yield_now().await;
        }
        let handshake = async {
            let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
            let answer = async { hello.into_stream(tls).await };
            self.handler.fairness.in_turn(&speaker, is_crowd, answer).await
        };
        let stream = match tokio::time::timeout(deadlines.handshake, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(format!("TLS handshake: {error}")),
            Err(_) => return Err("TLS handshake: timed out".to_owned()),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.map(|first| Peer::new(first.clone().into_owned()));
        let is_known = peer.is_some();
        let connection = Arc::new(Connection { peer, speaker, address, sending });
        let handler = self.handler.clone();
        let begun = Arc::new(AtomicBool::new(false));
        let has_begun = begun.clone();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            begun.store(true, Ordering::Relaxed);
            let (handler, connection) = (handler.clone(), connection.clone());
            async move { Ok::<_, Infallible>(handler.handle(&connection, request.map(Body::new)).await) }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(deadlines.headers);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(Some(Duration::from_secs(30)));
        if is_known {
            // A component that ends takes back all that it asked at once. From strangers that is an attack (CVE-2023-44487).
            builder.http2().max_pending_accept_reset_streams(STREAMS as usize);
        }
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // Before it is clear which HTTP a client speaks, nobody else waits for its headers in bounded time.
        let silent = async {
            tokio::time::sleep(deadlines.headers).await;
            if has_begun.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            served = connection.as_mut() => return served.map_err(|error| error.to_string()),
            () = silent => return Err(format!("no request within {:?}", deadlines.headers)),
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await.map_err(|error| error.to_string())
    }
}
