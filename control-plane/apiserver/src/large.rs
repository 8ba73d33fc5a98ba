//! Threads for large answers. To copy, encrypt and send a list keeps a processor busy for as long as dozens of small
//! requests, and more than one list keeps it busy for good. On threads of their own they compete for the processor as the
//! kernel shares it out, while the threads that hear of requests sleep most of the time and are woken at once
//! (docs/decisions/0053).

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::held::HeldBody;

/// Bytes; an answer that is larger goes to the other threads.
const LARGE: u64 = 256 * 1024;

/// Whether an answer takes so long to send that others should not wait behind it. A body that does not say how long it is may
/// be of any size.
pub(crate) fn is_large(response: &Response) -> bool {
    response.body().size_hint().exact().is_none_or(|bytes| bytes > LARGE)
}

/// How many large answers one connection is sending.
#[derive(Clone, Default)]
pub(crate) struct Sending(Arc<AtomicUsize>);

impl Sending {
    /// The same answer, counted until its body is sent or dropped.
    pub(crate) fn counts(&self, response: Response) -> Response {
        self.0.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(self.clone());
        response.map(|body| Body::new(LaterBody { body: HeldBody::new(body, counted), rested: false }))
    }

    fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

struct Counted(Sending);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives nothing when it is first asked: by the next time its connection has moved.
struct LaterBody {
    body: HeldBody<Counted>,
    rested: bool,
}

impl HttpBody for LaterBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !std::mem::replace(&mut self.rested, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // The kernel asks who comes first when a thread wakes, and after that with the next tick of its clock (decision 0064).
        std::thread::yield_now();
        Pin::new(&mut self.body).poll_frame(context)
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
                let response = on_the_way.counts(Response::new(Body::from("x".repeat(10))));
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
    async fn a_connection_that_panics_ends_alone() {
        let (threads, sending) = (Threads::default(), Sending::default());
        let on_the_way = sending.clone();
        let serving = Box::pin(async move {
            let _counted = on_the_way.counts(Response::new(Body::empty()));
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
