//! One HTTP/1.1 connection to a backend. No task of its own drives it: who waits for its answer does. So that a request and
//! its answer pass through one task and wake nobody else.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::poll_fn;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{self, Handle};
use tokio::time::{Instant, Sleep};

use crate::body::{LINGER, Outgoing};
use crate::wire::Wire;

/// How long a backend may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Headers of an answer, in number and in bytes.
const HEADERS: usize = 200;
const HEADER_BYTES: usize = 128 << 10;

pub(crate) type Connection = http1::Connection<TokioIo<Wire>, Outgoing>;

pub(crate) struct Link {
    sender: http1::SendRequest<Outgoing>,
    /// `None` when it has ended.
    connection: Option<Box<Connection>>,
    /// Ends the wait for an answer. One for all requests: to move its time is cheaper than to make another.
    limit: Pin<Box<Sleep>>,
    /// The progress of the last request's body, which lives as long as there is more of it to send.
    sending: Weak<AtomicUsize>,
    /// Whose events it wakes by.
    pub(crate) reactor: runtime::Id,
    /// Sweeps since it was used.
    pub(crate) rested: u8,
}

/// A request that has had no answer.
pub(crate) struct Unanswered {
    /// If nothing of it has gone out.
    pub(crate) request: Option<Box<Request<Outgoing>>>,
    pub(crate) error: hyper::Error,
}

/// # Errors
/// Says why there is no connection.
pub(crate) async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(address));
    let stream = connecting.await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// # Errors
/// Says why there is no connection.
pub(crate) async fn open(address: SocketAddr) -> std::io::Result<(http1::SendRequest<Outgoing>, Connection)> {
    let stream = connect(address).await?;
    let mut builder = http1::Builder::new();
    builder.max_headers(HEADERS).max_buf_size(HEADER_BYTES);
    builder.handshake(TokioIo::new(Wire::new(stream))).await.map_err(std::io::Error::other)
}

impl Link {
    /// # Errors
    /// Says why there is no connection.
    pub(crate) async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let (sender, connection) = open(address).await?;
        let limit = Box::pin(tokio::time::sleep(Duration::ZERO));
        let (connection, reactor) = (Some(Box::new(connection)), Handle::current().id());
        Ok(Self { sender, connection, limit, sending: Weak::new(), reactor, rested: 0 })
    }

    /// Lets the connection go on; it wakes the task of `cx` when it can go on further.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.connection = None;
        }
    }

    /// Whether it can take a request: the backend has not closed it, and the last answer has ended.
    pub(crate) fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Whether the last request has not gone out to its end.
    pub(crate) fn is_sending(&self) -> bool {
        self.sending.strong_count() > 0
    }

    /// The link once the last request has gone out to its end; `None` when the backend, which has answered, reads no more of it.
    pub(crate) async fn sent(mut self) -> Option<Self> {
        loop {
            let before = self.moved();
            let sent = poll_fn(|cx| {
                self.drive(cx);
                if self.connection.is_some() && self.is_sending() { Poll::Pending } else { Poll::Ready(()) }
            });
            match tokio::time::timeout(LINGER, sent).await {
                Ok(()) => return self.connection.is_some().then_some(self),
                Err(_) if self.moved() == before => return None,
                Err(_) => {}
            }
        }
    }

    fn moved(&self) -> usize {
        self.sending.upgrade().map_or(0, |moved| moved.load(Ordering::Relaxed))
    }

    /// `None` when for as long as `limit` there was neither an answer nor progress of the request's body.
    ///
    /// # Errors
    /// Gives the request back if nothing of it has gone out.
    pub(crate) async fn send(
        &mut self,
        request: Request<Outgoing>,
        limit: Duration,
    ) -> Option<Result<Response<Incoming>, Unanswered>> {
        let progress = request.body().progress();
        self.sending = progress.as_ref().map(Arc::downgrade).unwrap_or_default();
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let answered = poll_fn(|cx| {
            if let Some(driven) = connection
                && Pin::new(driven).poll(cx).is_ready()
            {
                // What waits for it is told that it is gone.
                *connection = None;
            }
            answer.as_mut().poll(cx)
        });
        let answered = limited(answered, limit, progress, self.limit.as_mut()).await?;
        Some(answered.map_err(|mut unsent| {
            let request = unsent.take_message().map(Box::new);
            Unanswered { request, error: unsent.into_error() }
        }))
    }
}

/// `None` when for so long there was neither an end nor progress. `sleep` is whatever timer there is.
pub(crate) async fn limited<T>(
    work: impl Future<Output = T>,
    limit: Duration,
    progress: Option<Arc<AtomicUsize>>,
    mut sleep: Pin<&mut Sleep>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let moved = || progress.as_ref().map(|moved| moved.load(Ordering::Relaxed));
    loop {
        let before = moved();
        sleep.as_mut().reset(Instant::now() + limit);
        tokio::select! {
            biased;
            done = work.as_mut() => return Some(done),
            () = sleep.as_mut() => {}
        }
        if moved() == before {
            return None;
        }
    }
}
