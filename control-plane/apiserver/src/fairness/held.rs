//! A list keeps its request's seats until it is sent, and a watch until it has sent what there is when it begins.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Seat;

/// A client that reads slowly gives the seats back after this time, as requests end in Kubernetes.
const LONGEST: Duration = Duration::from_secs(60);

/// Holds `seat` until what is given is dropped.
pub(crate) fn until_dropped(seat: Seat) -> oneshot::Sender<()> {
    let (until, sent) = oneshot::channel::<()>();
    tokio::spawn(async move {
        // Sent, dropped, or too slow.
        let _ = tokio::time::timeout(LONGEST, sent).await;
        drop(seat);
    });
    until
}
