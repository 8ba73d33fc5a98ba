//! One priority level at work: seats for requests that run, queues for those that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::limits::Bounds;
use super::queues::{Place, Queues, Standing};
use super::shuffle;

/// How long a request waits at most unless the server is set to something else: a quarter of what requests may take, as in
/// Kubernetes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Of so many seats, requests that need several leave one to those that need one, which would wait until a list is sent.
const LEFT_FOR_SMALL: u32 = 16;

/// What a level does with requests. A level whose object changes in this is replaced; limits change in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// Everything runs at once.
    Exempt,
    /// What finds no seat is refused.
    Reject,
    /// What finds no seat waits.
    Queue { queues: usize, hand: usize, length: usize },
}

/// Why a request is refused, in the words of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    QueueFull,
    ConcurrencyLimit,
    TimeOut,
}

type Sender = oneshot::Sender<Permit>;

pub(super) struct Level {
    pub(super) name: Arc<str>,
    pub(super) uid: HeaderValue,
    pub(super) shape: Shape,
    /// How long a request waits at most.
    patience: Duration,
    /// Seats of the requests that run.
    running: AtomicU32,
    limit: AtomicU32,
    /// The most seats that were used or waited for since limits were looked at.
    peak: AtomicU32,
    /// Requests in the queues.
    waiting: AtomicU64,
    bounds: Mutex<Bounds>,
    queues: Mutex<Queues<Sender>>,
    /// Told when somebody has to wait or is refused: others may have seats to lend.
    scarce: Arc<Notify>,
    was_scarce: AtomicBool,
}

/// The seats of one running request; they are given back when it is dropped.
pub(super) struct Permit {
    level: Arc<Level>,
    seats: u32,
    queue: Option<usize>,
    since: Instant,
}

impl Permit {
    pub(super) fn since(&self) -> Instant {
        self.since
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(index) = self.queue {
            self.level.queues.lock().finished(index, self.seats, self.since.elapsed());
        }
        self.level.running.fetch_sub(self.seats, Ordering::SeqCst);
        if self.level.waiting.load(Ordering::SeqCst) > 0 {
            self.level.dispatch();
        }
    }
}

/// Takes a request out of its queue when nobody waits for it any more.
struct Waiting<'a> {
    level: &'a Arc<Level>,
    place: Place,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut queues = self.level.queues.lock();
        let removed = queues.remove(self.place);
        if removed {
            self.level.waiting.store(queues.waiting() as u64, Ordering::SeqCst);
        }
        drop(queues);
        if removed {
            // It may have been all that others waited for: they may need fewer seats.
            self.level.dispatch();
        }
    }
}

/// How a level stands.
pub(super) struct Snapshot {
    pub(super) running_seats: u32,
    pub(super) waiting: u64,
    pub(super) limit: u32,
    pub(super) bounds: Bounds,
    pub(super) queues: Vec<Standing>,
}

impl Level {
    pub(super) fn new(name: &str, uid: &str, shape: Shape, patience: Duration, scarce: Arc<Notify>) -> Arc<Self> {
        let queues = match shape {
            Shape::Queue { queues, length, .. } => Queues::new(queues, length),
            Shape::Exempt | Shape::Reject => Queues::new(0, 0),
        };
        Arc::new(Self {
            name: name.into(),
            uid: HeaderValue::from_str(uid).unwrap_or_else(|_| HeaderValue::from_static("")),
            shape,
            patience,
            running: AtomicU32::new(0),
            limit: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            waiting: AtomicU64::new(0),
            bounds: Mutex::default(),
            queues: Mutex::new(queues),
            scarce,
            was_scarce: AtomicBool::new(false),
        })
    }

    /// Waits for seats. `flow` is the hash of the request's flow, asked for only when there is a queue to choose.
    ///
    /// # Errors
    /// Why the request does not run.
    pub(super) async fn begin(self: &Arc<Self>, seats: u32, flow: impl FnOnce() -> u64) -> Result<Permit, Refusal> {
        if self.waiting.load(Ordering::SeqCst) == 0 && self.take(seats) {
            return Ok(self.permit(seats, None));
        }
        let Shape::Queue { queues, hand, .. } = self.shape else {
            self.tell_scarcity(seats);
            return Err(Refusal::ConcurrencyLimit);
        };
        let (sender, receiver) = oneshot::channel();
        let waiting = {
            let hand = shuffle::hand(flow(), queues, hand);
            let mut queues = self.queues.lock();
            let place = queues.push(&hand, seats, sender);
            self.waiting.store(queues.waiting() as u64, Ordering::SeqCst);
            let wanted = queues.waiting_seats();
            drop(queues);
            self.tell_scarcity(wanted);
            Waiting { level: self, place: place.ok_or(Refusal::QueueFull)? }
        };
        self.dispatch();
        let answer = tokio::time::timeout(self.patience, receiver).await;
        drop(waiting);
        match answer {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Refusal::TimeOut),
        }
    }

    /// Takes seats, if there are any left. Who needs more than there are runs alone.
    fn take(&self, seats: u32) -> bool {
        let all = self.limit.load(Ordering::Relaxed);
        let limit = if seats > 1 { all - all / LEFT_FOR_SMALL } else { all };
        let exempt = self.shape == Shape::Exempt;
        let free = |running: u32| exempt || running == 0 || running.saturating_add(seats) <= limit;
        let taken =
            self.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |running| free(running).then_some(running + seats));
        if let Ok(before) = taken
            && before + seats > self.peak.load(Ordering::Relaxed)
        {
            self.peak.fetch_max(before + seats, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn permit(self: &Arc<Self>, seats: u32, queue: Option<usize>) -> Permit {
        Permit { level: self.clone(), seats, queue, since: Instant::now() }
    }

    fn tell_scarcity(&self, more: u32) {
        self.peak.fetch_max(self.running.load(Ordering::Relaxed).saturating_add(more), Ordering::Relaxed);
        if !self.was_scarce.swap(true, Ordering::Relaxed) {
            self.scarce.notify_one();
        }
    }

    /// Lets go whoever's turn it is, while there are seats.
    fn dispatch(self: &Arc<Self>) {
        loop {
            let (sender, permit) = {
                let mut queues = self.queues.lock();
                let Some((index, seats)) = queues.next() else { return };
                if !self.take(seats) {
                    return;
                }
                let Some(sender) = queues.pop(index) else { return };
                self.waiting.store(queues.waiting() as u64, Ordering::SeqCst);
                (sender, self.permit(seats, Some(index)))
            };
            // Who went away gives the seats back by being dropped here, with the queues unlocked.
            drop(sender.send(permit));
        }
    }

    /// The bounds of its limit; until it borrows or lends, its nominal limit holds.
    pub(super) fn set_bounds(self: &Arc<Self>, bounds: Bounds) {
        if std::mem::replace(&mut *self.bounds.lock(), bounds) != bounds {
            self.set_limit(bounds.nominal);
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        *self.bounds.lock()
    }

    pub(super) fn set_limit(self: &Arc<Self>, limit: u32) {
        let before = self.limit.swap(limit, Ordering::SeqCst);
        if limit > before {
            self.dispatch();
        }
    }

    /// What it could use: the most since this was asked last.
    pub(super) fn demand(&self) -> u32 {
        let now = self.running.load(Ordering::SeqCst).saturating_add(self.queues.lock().waiting_seats());
        self.was_scarce.store(false, Ordering::Relaxed);
        self.peak.swap(now, Ordering::Relaxed).max(now)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let queues = self.queues.lock();
        Snapshot {
            running_seats: self.running.load(Ordering::SeqCst),
            waiting: queues.waiting() as u64,
            limit: self.limit.load(Ordering::SeqCst),
            bounds: self.bounds(),
            queues: queues.standings(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUES: Shape = Shape::Queue { queues: 8, hand: 2, length: 3 };

    fn level(shape: Shape, seats: u32) -> Arc<Level> {
        let level = Level::new("l", "uid", shape, PATIENCE, Arc::default());
        level.set_bounds(Bounds { lower: seats, nominal: seats, upper: seats });
        level
    }

    /// Ends only when `count` requests wait.
    async fn until_waiting(level: &Level, count: u64) {
        while level.snapshot().waiting != count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_next_runs_when_one_ends() {
        let level = level(QUEUES, 1);
        let first = level.begin(1, || 0).await.expect("a seat");
        let second = tokio::spawn({
            let level = level.clone();
            async move { level.begin(1, || 0).await.map(drop) }
        });
        until_waiting(&level, 1).await;
        drop(first);
        assert_eq!(second.await.expect("ends"), Ok(()));
        assert_eq!(level.snapshot().running_seats, 0);
    }

    #[tokio::test]
    async fn who_needs_one_seat_does_not_wait_for_those_who_need_many() {
        let level = level(QUEUES, 32);
        let first = level.begin(10, || 0).await;
        let _others = [level.begin(10, || 0).await, level.begin(10, || 0).await];
        let mut next = Box::pin(level.begin(10, || 0));
        assert!(futures::poll!(&mut next).is_pending());
        drop(first);
        let _next = next.await.expect("there are seats again");
        let mut waits = Box::pin(level.begin(2, || 0));
        assert!(futures::poll!(&mut waits).is_pending());
        assert!(level.begin(1, || 5).await.is_ok());
        assert_eq!(level.snapshot().waiting, 1);
    }

    #[tokio::test]
    async fn a_full_queue_and_a_level_without_queues_refuse() {
        let rejecting = level(Shape::Reject, 1);
        let held = rejecting.begin(1, || 0).await;
        assert_eq!(rejecting.begin(1, || 0).await.err(), Some(Refusal::ConcurrencyLimit));
        drop(held);
        assert!(rejecting.begin(1, || 0).await.is_ok());

        let queuing = level(Shape::Queue { queues: 1, hand: 1, length: 1 }, 1);
        let held = queuing.begin(1, || 0).await;
        let mut waits = Box::pin(queuing.begin(1, || 0));
        assert!(futures::poll!(&mut waits).is_pending());
        assert_eq!(queuing.begin(1, || 0).await.err(), Some(Refusal::QueueFull));
        drop(held);
        assert!(waits.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_goes_away_leaves_the_queue() {
        let level = level(QUEUES, 1);
        let held = level.begin(1, || 0).await;
        assert_eq!(level.begin(1, || 0).await.err(), Some(Refusal::TimeOut));
        let mut gone = Box::pin(level.begin(1, || 0));
        assert!(futures::poll!(&mut gone).is_pending());
        assert_eq!(level.snapshot().waiting, 1);
        drop(gone);
        assert_eq!(level.snapshot().waiting, 0);
        drop(held);
        assert!(level.begin(1, || 0).await.is_ok());
    }

    #[tokio::test]
    async fn an_exempt_level_never_waits_and_a_raised_limit_lets_go() {
        let exempt = level(Shape::Exempt, 0);
        let held: Vec<_> = futures::future::join_all((0..100).map(|_| exempt.begin(1, || 0))).await;
        assert!(held.iter().all(Result::is_ok));

        let limited = level(QUEUES, 1);
        let first = limited.begin(1, || 0).await;
        let mut second = Box::pin(limited.begin(1, || 0));
        assert!(futures::poll!(&mut second).is_pending());
        assert!(limited.demand() >= 2);
        limited.set_limit(2);
        assert!(second.await.is_ok());
        drop(first);
    }

    #[tokio::test]
    async fn a_request_that_is_wider_than_the_limit_runs_alone() {
        let level = level(QUEUES, 4);
        let small = level.begin(1, || 0).await;
        let mut wide = Box::pin(level.begin(10, || 0));
        assert!(futures::poll!(&mut wide).is_pending());
        drop(small);
        let wide = wide.await.expect("runs");
        let mut next = Box::pin(level.begin(1, || 0));
        assert!(futures::poll!(&mut next).is_pending());
        drop(wide);
        assert!(next.await.is_ok());
    }

    #[tokio::test]
    async fn who_needs_less_runs_when_the_first_in_the_queue_goes_away() {
        let level = level(Shape::Queue { queues: 1, hand: 1, length: 3 }, 4);
        let held = level.begin(3, || 0).await.expect("seats");
        let mut wide = Box::pin(level.begin(4, || 0));
        let mut small = Box::pin(level.begin(1, || 0));
        assert!(futures::poll!(&mut wide).is_pending() && futures::poll!(&mut small).is_pending());
        drop(wide);
        assert!(small.await.is_ok());
        drop(held);
    }
}
