//! The body of a list, which keeps its request's seats until it is sent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

use super::Seat;

/// A client that reads slowly gives the seats back after this time, as requests end in Kubernetes.
const LONGEST: Duration = Duration::from_secs(60);

struct Held {
    body: Body,
    /// Dropped with the body, which ends the task that has the seat.
    _until: oneshot::Sender<()>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The same answer, holding `seat` until its body is sent or dropped.
pub(crate) fn until_sent(response: Response, seat: Seat) -> Response {
    let (until, sent) = oneshot::channel();
    tokio::spawn(async move {
        // Sent, dropped, or too slow.
        let _ = tokio::time::timeout(LONGEST, sent).await;
        drop(seat);
    });
    response.map(|body| Body::new(Held { body, _until: until }))
}
