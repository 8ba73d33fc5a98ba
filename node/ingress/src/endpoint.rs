//! One endpoint: how to reach it, its open connections, how busy it is, and whether it could be reached of late.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::poll_fn;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, header};
use hyper::client::conn::http2;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::runtime::{self, Handle};
use tokio::time::sleep;

use crate::body::{FromBackend, Outgoing};
use crate::link::{self, Link, Unanswered, limited};
use crate::resolve::Speaks;

/// Connections that a thread keeps for requests to come.
const KEPT: usize = 256;
/// Sweeps after which a connection that nobody used is closed: a minute.
const RESTED: u8 = 30;
/// Between two sweeps.
pub(crate) const SWEEP: Duration = Duration::from_secs(2);
/// How often an HTTP/2 connection is asked whether it is alive.
const PING: Duration = Duration::from_secs(30);

pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    speaks: Speaks,
    busy: AtomicUsize,
    /// Could not be reached since the last sweep.
    failing: AtomicBool,
    /// By whose reactor tells of them: on another thread each event would have to wake this one.
    kept: Mutex<HashMap<runtime::Id, Vec<Link>>>,
    /// All requests of HTTP/2 share one.
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Outgoing>>>,
}

/// Why a request has had no answer.
pub(crate) enum Failed {
    /// Nothing of it has gone out: it may go elsewhere.
    Unsent { request: Box<Request<Outgoing>>, error: std::io::Error },
    /// The endpoint may have begun to act on it.
    Broken(hyper::Error),
    /// The endpoint took too long.
    TimedOut,
}

/// A request that the endpoint is busy with.
pub(crate) struct Load(Arc<Endpoint>);

impl Load {
    fn on(endpoint: Arc<Endpoint>) -> Self {
        endpoint.busy.fetch_add(1, Ordering::Relaxed);
        Self(endpoint)
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Endpoint {
    pub(crate) fn new(address: SocketAddr, speaks: Speaks) -> Self {
        Self {
            address,
            speaks,
            busy: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            kept: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
        }
    }

    /// Requests that it has not answered to the end.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Keeps a connection for the next request, once the last one has gone out to its end.
    pub(crate) fn keep(self: &Arc<Self>, mut link: Link) {
        if link.is_sending() {
            // Without a runtime, all ends.
            let Ok(runtime) = Handle::try_current() else { return };
            let endpoint = self.clone();
            runtime.spawn(async move {
                if let Some(link) = link.sent().await {
                    endpoint.keep(link);
                }
            });
            return;
        }
        link.rested = 0;
        let mut kept = self.kept.lock();
        let kept = kept.entry(link.reactor).or_default();
        if kept.len() < KEPT {
            kept.push(link);
        }
    }

    /// Closes connections that nobody uses, and lets the endpoint be tried again.
    pub(crate) fn sweep(&self) {
        self.failing.store(false, Ordering::Relaxed);
        self.kept.lock().retain(|_, kept| {
            kept.retain_mut(|link| {
                link.rested = link.rested.saturating_add(1);
                link.rested <= RESTED
            });
            !kept.is_empty()
        });
    }

    /// A kept connection that the endpoint has not closed, the last used first.
    fn take(&self, cx: &mut Context<'_>) -> Option<Link> {
        let reactor = Handle::current().id();
        loop {
            let mut link = self.kept.lock().get_mut(&reactor)?.pop()?;
            if link.is_ready(cx) {
                return Some(link);
            }
        }
    }

    /// # Errors
    /// When the endpoint does not answer; `limit` is how long it may say nothing.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: Request<Outgoing>,
        limit: Duration,
    ) -> Result<Response<FromBackend>, Failed> {
        let load = Load::on(self.clone());
        match self.speaks {
            Speaks::Http1 => self.send_linked(request, limit, load).await,
            Speaks::Http2 => Box::pin(self.send_shared(request, limit, load)).await,
        }
    }

    async fn send_linked(
        &self,
        mut request: Request<Outgoing>,
        limit: Duration,
        load: Load,
    ) -> Result<Response<FromBackend>, Failed> {
        loop {
            let kept = poll_fn(|cx| Poll::Ready(self.take(cx))).await;
            let is_new = kept.is_none();
            let mut link = match kept {
                Some(link) => link,
                // Seldom: what it takes is not to be a part of every request's future.
                None => match Box::pin(Link::open(self.address)).await {
                    Ok(link) => link,
                    Err(error) => return Err(self.unsent(request, error)),
                },
            };
            match link.send(request, limit).await {
                None => return Err(Failed::TimedOut),
                Some(Ok(response)) => return Ok(response.map(|body| FromBackend::new(body, Some(link), load))),
                Some(Err(Unanswered { request: Some(unsent), error })) if is_new => {
                    return Err(self.unsent(*unsent, std::io::Error::other(error)));
                }
                // A kept one was closed at that very moment.
                Some(Err(Unanswered { request: Some(unsent), .. })) => request = *unsent,
                Some(Err(Unanswered { request: None, error })) => return Err(Failed::Broken(error)),
            }
        }
    }

    async fn send_shared(
        &self,
        mut request: Request<Outgoing>,
        limit: Duration,
        load: Load,
    ) -> Result<Response<FromBackend>, Failed> {
        say_host_in_uri(&mut request);
        let mut sender = match self.shared().await {
            Ok(sender) => sender,
            Err(error) => return Err(self.unsent(request, error)),
        };
        let progress = request.body().progress();
        match limited(sender.try_send_request(request), limit, progress, pin!(sleep(limit))).await {
            None => Err(Failed::TimedOut),
            Some(Ok(response)) => Ok(response.map(|body| FromBackend::new(body, None, load))),
            Some(Err(mut error)) => match error.take_message() {
                Some(unsent) => Err(self.unsent(unsent, std::io::Error::other(error.into_error()))),
                None => Err(Failed::Broken(error.into_error())),
            },
        }
    }

    /// The HTTP/2 connection, opened when there is none.
    async fn shared(&self) -> std::io::Result<http2::SendRequest<Outgoing>> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = link::connect(self.address).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(Some(PING));
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        let address = self.address;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "a connection to a backend ended");
            }
        });
        Ok(shared.insert(sender).clone())
    }

    /// Sends a request that asks for another protocol, over a connection that nobody else uses. With the backend's side of what
    /// follows, if it agrees.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn send_upgrade(
        self: &Arc<Self>,
        request: Request<Outgoing>,
        limit: Duration,
    ) -> Result<(Response<FromBackend>, Option<OnUpgrade>), Failed> {
        let load = Load::on(self.clone());
        let (mut sender, connection) = match link::open(self.address).await {
            Ok(opened) => opened,
            Err(error) => return Err(self.unsent(request, error)),
        };
        let address = self.address;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%address, %error, "a connection to a backend ended");
            }
        });
        let progress = request.body().progress();
        match limited(sender.send_request(request), limit, progress, pin!(sleep(limit))).await {
            None => Err(Failed::TimedOut),
            Some(Err(error)) => Err(Failed::Broken(error)),
            Some(Ok(mut response)) => {
                let switches = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
                let upgrade = switches.then(|| hyper::upgrade::on(&mut response));
                Ok((response.map(|body| FromBackend::new(body, None, load)), upgrade))
            }
        }
    }

    fn unsent(&self, request: Request<Outgoing>, error: std::io::Error) -> Failed {
        self.failing.store(true, Ordering::Relaxed);
        Failed::Unsent { request: Box::new(request), error }
    }
}

/// Where HTTP/2 says which host a request is for.
fn say_host_in_uri(request: &mut Request<Outgoing>) {
    let Some(host) = request.headers_mut().remove(header::HOST) else { return };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = Authority::try_from(host.as_bytes()).ok();
    parts.scheme = parts.authority.is_some().then_some(Scheme::HTTP);
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}
