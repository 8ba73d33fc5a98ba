//! A list keeps its request's seats until it is sent.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use tokio::sync::oneshot;

use super::Seat;
use crate::held::HeldBody;

/// A client that reads slowly gives the seats back after this time, as requests end in Kubernetes.
const LONGEST: Duration = Duration::from_secs(60);

/// The same answer, holding `seat` until its body is sent or dropped.
pub(crate) fn until_sent(response: Response, seat: Seat) -> Response {
    let (until, sent) = oneshot::channel::<()>();
    tokio::spawn(async move {
        // Sent, dropped, or too slow.
        let _ = tokio::time::timeout(LONGEST, sent).await;
        drop(seat);
    });
    response.map(|body| Body::new(HeldBody::new(body, until)))
}
