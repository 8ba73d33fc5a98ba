//! Whose turn it is on the processor. Most requests never wait for anything: however few may run at once, they would be
//! served in the order in which their connections became readable, and a flood's are readable all the time. So a request
//! takes a turn, of which there are few, and gives it back when it first waits or ends; who finds none waits in the order of
//! fair queuing over all flows. One of a flow that had a turn just now goes behind what is runnable already. The flow is that
//! of the last request of the same connection, since finding out who asks is a good part of the work.

use std::future::{Future, poll_fn};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::level::{Level, PATIENCE, Shape};
use super::limits::Bounds;

/// Turns for each thread: one that runs and some that are about to.
const A_THREAD: usize = 2;
/// Who finds the queue full runs without a turn: refusing is for the levels.
const SHAPE: Shape = Shape::Queue { queues: 128, hand: 6, length: 1024 };

/// A flow that asks again so soon goes behind others: two thousand requests a second wait for nobody.
const SOON: Duration = Duration::from_micros(500);
/// Flows are told apart by so many places; two that share one are taken for one.
const PLACES: usize = 256;

/// What is known of who speaks on a connection.
#[derive(Default)]
pub(crate) struct Speaker(AtomicU64);

impl Speaker {
    /// Takes no turns.
    const EXEMPT: u64 = u64::MAX;

    /// Somebody of whom only the address is known yet.
    pub(crate) fn at(address: Option<IpAddr>) -> Self {
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        let speaker = Self::default();
        speaker.is(Some(hasher.finish()));
        speaker
    }

    /// `None` for one that is exempt.
    pub(super) fn flow(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&flow| flow != Self::EXEMPT)
    }

    /// `None` for one that is exempt.
    pub(super) fn is(&self, flow: Option<u64>) {
        self.0.store(flow.map_or(Self::EXEMPT, |flow| flow >> 1), Ordering::Relaxed);
    }
}

pub(super) struct Turns {
    level: Arc<Level>,
    since: Instant,
    /// When each flow asked last, in microseconds.
    asked: [AtomicU64; PLACES],
}

impl Turns {
    /// For the threads of this runtime.
    pub(super) fn new() -> Self {
        let turns = tokio::runtime::Handle::current().metrics().num_workers() * A_THREAD;
        let turns = u32::try_from(turns).unwrap_or(u32::MAX);
        let level = Level::new("turns", "", SHAPE, PATIENCE, Arc::default());
        level.set_bounds(Bounds { lower: turns, nominal: turns, upper: turns });
        Self { level, since: Instant::now(), asked: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Whether a flow asks again so soon that others come first.
    fn is_soon(&self, flow: u64) -> bool {
        let place = usize::try_from(flow % PLACES as u64).unwrap_or(0);
        let now = self.since.elapsed() + SOON;
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let last = self.asked[place].swap(micros, Ordering::Relaxed);
        u128::from(micros.saturating_sub(last)) < SOON.as_micros()
    }

    /// Runs a request when it is its speaker's turn.
    pub(super) async fn run<T>(&self, speaker: &Speaker, request: impl Future<Output = T>) -> T {
        let Some(flow) = speaker.flow() else { return request.await };
        let mut behind_the_others = !self.is_soon(flow);
        let mut turn = self.level.begin(1, || flow).await.ok();
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

    #[tokio::test(start_paused = true)]
    async fn only_who_asks_again_soon_goes_behind_others() {
        let turns = Turns::new();
        let (one, other) = (Speaker::default(), Speaker(AtomicU64::new(1)));
        assert!(futures::poll!(Box::pin(turns.run(&one, async {}))).is_ready());
        assert!(futures::poll!(Box::pin(turns.run(&one, async {}))).is_pending());
        assert!(futures::poll!(Box::pin(turns.run(&other, async {}))).is_ready());
        tokio::time::advance(SOON).await;
        assert!(futures::poll!(Box::pin(turns.run(&one, async {}))).is_ready());
    }

    #[test]
    fn newcomers_are_told_apart_by_their_addresses() {
        let flow = |address: [u8; 4]| Speaker::at(Some(address.into())).0.into_inner();
        assert_eq!(flow([10, 0, 0, 1]), flow([10, 0, 0, 1]));
        assert_ne!(flow([10, 0, 0, 1]), flow([10, 0, 0, 2]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_given_back_when_the_request_waits() {
        let turns = Turns::new();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (one, other) = (Speaker::default(), Speaker(AtomicU64::new(1)));
        turns.run(&one, async {}).await;
        turns.run(&other, async {}).await;
        let mut first = Box::pin(turns.run(&one, ended));
        let mut second = Box::pin(turns.run(&one, async {}));
        let mut third = Box::pin(turns.run(&other, async {}));
        // One thread, two turns.
        assert!(futures::poll!(&mut second).is_pending() && futures::poll!(&mut third).is_pending());
        assert!(futures::poll!(&mut first).is_pending());
        assert_eq!((turns.level.snapshot().running_seats, turns.level.snapshot().waiting), (2, 1));
        second.await;
        third.await;
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut first).is_pending());
        assert_eq!(turns.level.snapshot().running_seats, 0);
        end.send(()).expect("it waits");
        assert!(first.await.is_ok());
    }
}
