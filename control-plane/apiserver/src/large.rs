//! Threads for large answers. To copy, encrypt and send a list keeps a processor busy for as long as dozens of small
//! requests, and more than one list keeps it busy for good. On threads of their own they compete for the processor as the
//! kernel shares it out, while the threads that hear of requests sleep most of the time and are woken at once
//! (docs/decisions/0053). So do the answers to one who floods (docs/decisions/0072).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::runtime::{Builder, Handle, Runtime};

/// Bytes; an answer that is larger goes to the other threads.
pub(crate) const LARGE: u64 = 256 * 1024;

/// Whether an answer takes so long to send that others should not wait behind it. A body that does not say how long it is may
/// be of any size.
pub(crate) fn is_large(response: &Response) -> bool {
    response.body().size_hint().exact().is_none_or(|bytes| bytes > LARGE)
}

/// What of an answer is sent from the other threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    /// Of a stream what there is when it begins, until it first waits.
    Beginning,
}

/// The mark of an answer whose [`Part::Beginning`] is large.
#[derive(Clone)]
pub(crate) struct LargeBeginning;

/// What one connection is sending.
#[derive(Clone, Default)]
pub(crate) struct Sending(Arc<Load>);

#[derive(Default)]
struct Load {
    /// Large answers.
    large: AtomicUsize,
    /// Answers to one who floods.
    crowd: AtomicBool,
}

impl Sending {
    /// The same answer, counted until that part of its body is sent, or it is dropped; so long it keeps `kept`.
    pub(crate) fn counts<T: Send + Unpin + 'static>(&self, response: Response, part: Part, kept: T) -> Response {
        self.0.large.fetch_add(1, Ordering::Relaxed);
        let held = Some((Counted(self.clone()), kept));
        response.map(|body| Body::new(LaterBody { body, part, held, rested: false }))
    }

    /// Says whether who asks on the connection asks so much that others should not wait behind it.
    pub(crate) fn is_to_a_crowd(&self, is_it: bool) {
        self.0.crowd.store(is_it, Ordering::Relaxed);
    }

    fn is_any(&self) -> bool {
        self.0.crowd.load(Ordering::Relaxed) || self.0.large.load(Ordering::Relaxed) > 0
    }
}

struct Counted(Sending);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.large.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives nothing when it is first asked: by the next time its connection has moved.
struct LaterBody<T> {
    body: Body,
    part: Part,
    held: Option<(Counted, T)>,
    rested: bool,
}

impl<T: Unpin> HttpBody for LaterBody<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.held.is_none() {
            return Pin::new(&mut self.body).poll_frame(context);
        }
        if !std::mem::replace(&mut self.rested, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // The kernel asks who comes first when a thread wakes, and after that with the next tick of its clock (decision 0064).
        std::thread::yield_now();
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if self.part == Part::Beginning {
            match polled {
                Poll::Pending => self.held = None,
                // One chunk a turn, as lists do it by themselves.
                Poll::Ready(_) => self.rested = false,
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The other threads; there are none before there is a large answer.
#[derive(Default)]
pub(crate) struct Threads(OnceLock<Option<Runtime>>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.0.take() {
            // It may be one of them that drops this: nobody waits for them.
            runtime.shutdown_background();
        }
    }
}

impl Threads {
    /// Serves a connection to its end: here, and on the other threads while it is sending large answers. `None` when serving it
    /// panicked.
    pub(crate) async fn serve<T: Send + 'static>(
        &self,
        mut serving: impl Future<Output = T> + Send + Unpin + 'static,
        sending: Sending,
    ) -> Option<T> {
        loop {
            if let Some(ended) = unless(&mut serving, || sending.is_any()).await {
                return Some(ended);
            }
            let Some(threads) = self.handle() else { return Some(serving.await) };
            let there = sending.clone();
            let moved = threads.spawn(async move {
                let ended = unless(&mut serving, || !there.is_any()).await;
                (ended, serving)
            });
            match moved.await {
                Ok((None, back)) => serving = back,
                Ok((ended, _)) => return ended,
                Err(error) => {
                    tracing::error!(%error, "send a large answer");
                    return None;
                }
            }
        }
    }

    /// `None` when there can be no such threads: everything is sent from where it is asked, then.
    fn handle(&self) -> Option<&Handle> {
        let start = || {
            let built = Builder::new_multi_thread().thread_name("large-answers").enable_all().build();
            built.inspect_err(|error| tracing::error!(%error, "start the threads for large answers")).ok()
        };
        self.0.get_or_init(start).as_ref().map(Runtime::handle)
    }
}

/// Lets `serving` run until it ends, or until it waits for something and `left` says that it should go on elsewhere: `None`.
async fn unless<T>(serving: &mut (impl Future<Output = T> + Unpin), left: impl Fn() -> bool) -> Option<T> {
    std::future::poll_fn(|context| match Pin::new(&mut *serving).poll(context) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if left() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_connection_is_elsewhere_while_it_sends_a_large_answer() {
        let (threads, sending) = (Threads::default(), Sending::default());
        let on_the_way = sending.clone();
        let here = name();
        let serving = Box::pin(async move {
            let mut seen = vec![name()];
            for _ in 0..2 {
                let response = on_the_way.counts(Response::new(Body::from("x".repeat(10))), Part::All, ());
                let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
                assert_eq!(body.len(), 10);
                seen.push(name());
                tokio::task::yield_now().await;
                seen.push(name());
            }
            seen
        });
        let seen = threads.serve(serving, sending).await.expect("it does not panic");
        let there = "large-answers".to_owned();
        assert_eq!(seen, [here.clone(), there.clone(), here.clone(), there, here]);
    }

    #[tokio::test]
    async fn a_connection_is_elsewhere_while_its_client_floods() {
        let (threads, sending) = (Threads::default(), Sending::default());
        let on_the_way = sending.clone();
        let here = name();
        let serving = Box::pin(async move {
            let mut seen = Vec::new();
            for floods in [true, true, false] {
                on_the_way.is_to_a_crowd(floods);
                tokio::task::yield_now().await;
                seen.push(name());
            }
            seen
        });
        let seen = threads.serve(serving, sending).await.expect("it does not panic");
        let there = "large-answers".to_owned();
        assert_eq!(seen, [there.clone(), there, here]);
    }

    #[tokio::test]
    async fn a_stream_comes_back_when_it_has_sent_its_beginning() {
        let (threads, sending) = (Threads::default(), Sending::default());
        let on_the_way = sending.clone();
        let (more, later) = futures::channel::mpsc::unbounded::<Result<Bytes, axum::Error>>();
        let (kept, is_kept) = tokio::sync::oneshot::channel::<()>();
        for _ in 0..2 {
            more.unbounded_send(Ok(Bytes::from_static(b"early"))).expect("it is read");
        }
        let here = name();
        let serving = Box::pin(async move {
            let response = on_the_way.counts(Response::new(Body::from_stream(later)), Part::Beginning, kept);
            let mut frames = response.into_body().into_data_stream();
            let mut seen = Vec::new();
            while let Some(frame) = futures::StreamExt::next(&mut frames).await {
                seen.push((frame.expect("a frame"), name()));
            }
            seen
        });
        let serving = threads.serve(serving, sending);
        let late = async {
            // Given up with the beginning.
            assert!(is_kept.await.is_err());
            more.unbounded_send(Ok(Bytes::from_static(b"late"))).expect("it is read");
            drop(more);
        };
        let (seen, ()) = futures::join!(serving, late);
        let there = "large-answers".to_owned();
        let early = Bytes::from_static(b"early");
        assert_eq!(
            seen.expect("it does not panic"),
            [(early.clone(), there.clone()), (early, there), (Bytes::from_static(b"late"), here)]
        );
    }

    #[tokio::test]
    async fn a_connection_that_panics_ends_alone() {
        let (threads, sending) = (Threads::default(), Sending::default());
        let on_the_way = sending.clone();
        let serving = Box::pin(async move {
            let _counted = on_the_way.counts(Response::new(Body::empty()), Part::All, ());
            tokio::task::yield_now().await;
            assert_eq!(name(), "");
        });
        assert!(threads.serve(serving, sending.clone()).await.is_none());
        assert!(!sending.is_any());
        assert_eq!(threads.serve(Box::pin(async { 1 }), sending).await, Some(1));
    }

    #[test]
    fn what_may_be_of_any_size_counts_as_large() {
        assert!(!is_large(&Response::new(Body::from("x"))));
        assert!(is_large(&Response::new(Body::from("x".repeat(300_000)))));
        assert!(is_large(&Response::new(Body::from_stream(futures::stream::pending::<Result<Bytes, axum::Error>>()))));
    }
}
