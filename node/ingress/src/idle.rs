//! Time as a connection needs it: coarse, and at no cost while requests come. A timer of its own for each wait would be made,
//! registered with the runtime and taken back with each request.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use hyper::rt::{Sleep, Timer};
use tokio_util::sync::CancellationToken;

/// How often a connection is looked at when nothing happens.
const LOOK: Duration = Duration::from_secs(5);

/// What calls for a connection beside its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// It is time to look whether somebody has waited for too long.
    Look,
    /// The proxy is to end.
    End,
}

/// Calls are asked for with each turn of a connection's task, but looked at only when they have come.
pub(crate) struct Calls(FuturesUnordered<BoxFuture<'static, Call>>);

impl Calls {
    pub(crate) fn new(cancel: &CancellationToken) -> Self {
        Self(FuturesUnordered::from_iter([look(), cancel.clone().cancelled_owned().map(|()| Call::End).boxed()]))
    }

    /// The next one; never ends before there is one.
    pub(crate) async fn next(&mut self) -> Call {
        match self.0.next().await {
            Some(Call::Look) => {
                self.0.push(look());
                Call::Look
            }
            other => other.unwrap_or(Call::End),
        }
    }
}

fn look() -> BoxFuture<'static, Call> {
    tokio::time::sleep(LOOK).map(|()| Call::Look).boxed()
}

/// For hyper: waits that end when somebody looks and their time has come. Whoever waits must be looked at by [`Calls`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookedAt;

impl Timer for LookedAt {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until(deadline))
    }

    fn now(&self) -> Instant {
        // As tests may stop it.
        tokio::time::Instant::now().into_std()
    }
}

struct Until(Instant);

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if LookedAt.now() < self.0 { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Sleep for Until {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_has_ended_by_the_look_after_its_time() {
        let cancel = CancellationToken::new();
        let mut calls = Calls::new(&cancel);
        let mut wait = LookedAt.sleep(LOOK + Duration::from_secs(1));
        for ends in [false, true] {
            assert_eq!(calls.next().await, Call::Look);
            assert_eq!(futures::poll!(wait.as_mut()).is_ready(), ends);
        }
        cancel.cancel();
        assert_eq!(calls.next().await, Call::End);
    }
}
