//! Whose turn it is on the processor. Most requests never wait for anything: however few may run at once, they would be
//! served in the order in which their connections became readable, and a flood's are readable all the time. So a request
//! takes a turn, of which there are few, goes behind what is runnable already, and gives the turn back when it first waits
//! or ends; who finds none waits in the order of fair queuing over all flows. The flow is that of the last request of the
//! same connection, since finding out who asks is a good part of the work.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use super::level::{Level, PATIENCE, Shape};
use super::limits::Bounds;

/// Turns for each thread: one that runs and some that are about to.
const A_THREAD: usize = 2;
/// Who finds the queue full runs without a turn: refusing is for the levels.
const SHAPE: Shape = Shape::Queue { queues: 128, hand: 6, length: 1024 };

/// What is known of who speaks on a connection.
#[derive(Default)]
pub(crate) struct Speaker(AtomicU64);

impl Speaker {
    /// Takes no turns.
    const EXEMPT: u64 = u64::MAX;

    /// `None` for one that is exempt.
    pub(super) fn is(&self, flow: Option<u64>) {
        self.0.store(flow.map_or(Self::EXEMPT, |flow| flow >> 1), Ordering::Relaxed);
    }
}

pub(super) struct Turns(Arc<Level>);

impl Turns {
    /// For the threads of this runtime.
    pub(super) fn new() -> Self {
        let turns = tokio::runtime::Handle::current().metrics().num_workers() * A_THREAD;
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        let level = Level::new("turns", "", SHAPE, PATIENCE, Arc::default());
        level.set_bounds(Bounds { lower: turns, nominal: turns, upper: turns });
        Self(level)
    }

    /// Runs a request when it is its speaker's turn.
    pub(super) async fn run<T>(&self, speaker: &Speaker, request: impl Future<Output = T>) -> T {
        let flow = speaker.0.load(Ordering::Relaxed);
        if flow == Speaker::EXEMPT {
            return request.await;
        }
        let mut turn = self.0.begin(1, || flow).await.ok();
        let mut behind_the_others = false;
        let mut request = pin!(request);
        poll_fn(|context| {
            if !std::mem::replace(&mut behind_the_others, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let polled = request.as_mut().poll(context);
            turn = None;
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_given_back_when_the_request_waits() {
        let turns = Turns::new();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (one, other) = (Speaker::default(), Speaker(AtomicU64::new(1)));
        let mut first = Box::pin(turns.run(&one, ended));
        let mut second = Box::pin(turns.run(&one, async {}));
        let mut third = Box::pin(turns.run(&other, async {}));
        // One thread, two turns.
        assert!(futures::poll!(&mut second).is_pending() && futures::poll!(&mut third).is_pending());
        assert!(futures::poll!(&mut first).is_pending());
        assert_eq!((turns.0.snapshot().running_seats, turns.0.snapshot().waiting), (2, 1));
        second.await;
        third.await;
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut first).is_pending());
        assert_eq!(turns.0.snapshot().running_seats, 0);
        end.send(()).expect("it waits");
        assert!(first.await.is_ok());
    }
}
