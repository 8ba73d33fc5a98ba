//! Bodies on their way, in both directions, never gathered.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::poll_fn;
use http::{Request, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::Sleep;

use crate::endpoint::Load;
use crate::link::Link;

/// Bytes of an answer that is waited for to its end when its request may be sent again: clients see nothing of a backend that
/// ends between the head and the body of what it says.
const SMALL: u64 = 8 << 10;
/// How long a backend may say nothing in the middle of an answer.
const QUIET: Duration = Duration::from_secs(300);

/// How long the rest of a request is listened to that has had its answer.
pub(crate) const LINGER: Duration = Duration::from_secs(3);

pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body.
pub(crate) enum Outgoing {
    Nothing,
    Streamed(Streamed),
}

pub(crate) struct Streamed {
    /// `None` when it has ended.
    body: Option<Incoming>,
    /// Frames that have gone on are counted, as a client that is slow is none that has stopped.
    moved: Arc<AtomicUsize>,
    is_http_2: bool,
}

impl Outgoing {
    pub(crate) fn of(request: Request<Incoming>) -> Request<Self> {
        if request.body().is_end_stream() {
            return request.map(|_| Self::Nothing);
        }
        let is_http_2 = request.version() == Version::HTTP_2;
        request.map(|body| Self::Streamed(Streamed { body: Some(body), moved: Arc::default(), is_http_2 }))
    }

    /// Counts the frames that go on.
    pub(crate) fn progress(&self) -> Option<Arc<AtomicUsize>> {
        match self {
            Self::Nothing => None,
            Self::Streamed(streamed) => Some(streamed.moved.clone()),
        }
    }
}

impl Streamed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        self.moved.fetch_add(1, Ordering::Relaxed);
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }
}

impl Drop for Streamed {
    /// A client of HTTP/2 that is answered before all is read may send on for a moment: it is listened to, and then told to stop
    /// (`NO_ERROR`: RFC 9113, section 8.1). Told at once, some lose the answer, as curl 7.88 does.
    fn drop(&mut self) {
        let left = self.body.take().filter(|body| self.is_http_2 && !body.is_end_stream());
        let (Some(mut left), Ok(runtime)) = (left, Handle::try_current()) else { return };
        runtime.spawn(async move {
            let rest = async { while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut left).poll_frame(cx)).await {} };
            let _ = tokio::time::timeout(LINGER, rest).await;
        });
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Nothing => Poll::Ready(None),
            Self::Streamed(streamed) => streamed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Streamed(streamed) => streamed.body.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streamed(Streamed { body: Some(body), .. }) => body.size_hint(),
            _ => SizeHint::with_exact(0),
        }
    }
}

/// The body of an answer.
pub(crate) enum Answer {
    /// Here to its end: the proxy's own words, or a small answer of a backend.
    Whole(Option<Bytes>),
    Backend(FromBackend),
}

/// A backend's answer. Over HTTP/1.1 it brings its connection with it, which goes on whenever the body is asked for, and is
/// kept for other requests when the body has ended.
pub(crate) struct FromBackend {
    body: Incoming,
    link: Option<Link>,
    load: Load,
    quiet: Option<Pin<Box<Sleep>>>,
}

impl FromBackend {
    pub(crate) fn new(body: Incoming, link: Option<Link>, load: Load) -> Self {
        Self { body, link, load, quiet: None }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Pending, Some(link)) = (&frame, &mut self.link) {
            link.drive(cx);
            frame = Pin::new(&mut self.body).poll_frame(cx);
        }
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.quiet = None;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.link = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                self.give_back();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let quiet = self.quiet.get_or_insert_with(|| Box::pin(tokio::time::sleep(QUIET)));
                if quiet.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.link = None;
                Poll::Ready(Some(Err(format!("the backend said nothing for {QUIET:?}").into())))
            }
        }
    }

    /// Whether to wait for all of it costs little.
    pub(crate) fn is_small(&self) -> bool {
        self.link.is_some() && !self.body.is_end_stream() && self.body.size_hint().exact().is_some_and(|size| size <= SMALL)
    }

    /// # Errors
    /// When the backend breaks off.
    pub(crate) async fn whole(mut self) -> Result<Bytes, BodyError> {
        let mut whole = Bytes::new();
        while let Some(frame) = poll_fn(|cx| self.poll_frame(cx)).await {
            let Ok(data) = frame?.into_data() else { continue };
            whole = if whole.is_empty() { data } else { [whole, data].concat().into() };
            if self.body.is_end_stream() {
                break;
            }
        }
        Ok(whole)
    }

    fn give_back(&mut self) {
        if let Some(link) = self.link.take() {
            self.load.endpoint().keep(link);
        }
    }
}

impl Drop for FromBackend {
    fn drop(&mut self) {
        // The last frame is known to be the last: nobody asks for another one.
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Whole(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Backend(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(text) => text.is_none(),
            Self::Backend(body) => body.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Backend(body) => body.body.size_hint(),
        }
    }
}
