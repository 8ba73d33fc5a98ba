//! The queues of one priority level, and whose turn it is: start-time fair queuing over seat-seconds. Pure: time comes in as
//! what the requests took.

use std::collections::VecDeque;
use std::time::Duration;

/// What a request is taken to last until it has ended, in seconds.
const ESTIMATE: f64 = 0.003;

struct Waiting<T> {
    ticket: u64,
    seats: u32,
    item: T,
}

struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    /// Seats of those that wait, and of those that were let go from here and run.
    waiting_seats: u32,
    running_seats: u32,
    /// Virtual time at which its next request starts, in seat-seconds.
    start: f64,
}

pub(super) struct Queues<T> {
    queues: Vec<Queue<T>>,
    length_limit: usize,
    /// Virtual time: the start of the request that was let go last.
    now: f64,
    tickets: u64,
    waiting: usize,
    waiting_seats: u32,
    /// Where the search for the next begins, so that queues that are even take turns.
    turn: usize,
}

/// How one queue stands, for who asks.
pub(super) struct Standing {
    pub(super) index: usize,
    pub(super) waiting: usize,
    pub(super) waiting_seats: u32,
    pub(super) running_seats: u32,
    pub(super) start: f64,
}

/// The place of a request in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    queue: usize,
    ticket: u64,
}

impl<T> Queues<T> {
    pub(super) fn new(queues: usize, length_limit: usize) -> Self {
        let queue = || Queue { waiting: VecDeque::new(), waiting_seats: 0, running_seats: 0, start: 0.0 };
        let queues = std::iter::repeat_with(queue).take(queues.max(1)).collect();
        Self { queues, length_limit, now: 0.0, tickets: 0, waiting: 0, waiting_seats: 0, turn: 0 }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn waiting_seats(&self) -> u32 {
        self.waiting_seats
    }

    /// Puts a request into that queue of its hand which has the least to do; `None` when that one is full.
    pub(super) fn push(&mut self, hand: &[usize], seats: u32, item: T) -> Option<Place> {
        let load = |index: &&usize| self.queues.get(**index).map_or(u32::MAX, |queue| queue.waiting_seats + queue.running_seats);
        let index = *hand.iter().min_by_key(load)?;
        let now = self.now;
        let queue = self.queues.get_mut(index).filter(|queue| queue.waiting.len() < self.length_limit)?;
        if queue.waiting.is_empty() {
            // Who had nothing to do saves nothing up, and owes nothing any more.
            queue.start = if queue.running_seats == 0 { now } else { queue.start.max(now) };
        }
        let ticket = self.tickets;
        self.tickets += 1;
        queue.waiting.push_back(Waiting { ticket, seats, item });
        queue.waiting_seats += seats;
        self.waiting += 1;
        self.waiting_seats += seats;
        Some(Place { queue: index, ticket })
    }

    /// Takes back a request that waits no longer; false when it was let go before.
    pub(super) fn remove(&mut self, place: Place) -> bool {
        let Some(queue) = self.queues.get_mut(place.queue) else { return false };
        let Some(at) = queue.waiting.iter().position(|waiting| waiting.ticket == place.ticket) else { return false };
        let seats = queue.waiting.remove(at).map_or(0, |waiting| waiting.seats);
        queue.waiting_seats -= seats;
        self.waiting -= 1;
        self.waiting_seats -= seats;
        true
    }

    /// The queue whose turn it is, and the seats that its first request needs. Of queues that are even, first those that need few.
    pub(super) fn next(&self) -> Option<(usize, u32)> {
        let count = self.queues.len();
        let mut best: Option<(usize, f64, u32)> = None;
        for index in (0..count).map(|offset| (self.turn + offset) % count) {
            let queue = &self.queues[index];
            let Some(seats) = queue.waiting.front().map(|first| first.seats) else { continue };
            let comes_first =
                |(_, start, least): (usize, f64, u32)| queue.start < start || (queue.start <= start && seats < least);
            if best.is_none_or(comes_first) {
                best = Some((index, queue.start, seats));
            }
        }
        best.map(|(index, _, seats)| (index, seats))
    }

    /// Lets the first of a queue go.
    pub(super) fn pop(&mut self, index: usize) -> Option<T> {
        self.turn = (index + 1) % self.queues.len();
        let queue = self.queues.get_mut(index)?;
        let Waiting { seats, item, .. } = queue.waiting.pop_front()?;
        self.now = self.now.max(queue.start);
        queue.start += ESTIMATE * f64::from(seats);
        queue.waiting_seats -= seats;
        queue.running_seats += seats;
        self.waiting -= 1;
        self.waiting_seats -= seats;
        Some(item)
    }

    /// A request of a queue has ended: what it took takes the place of the estimate.
    pub(super) fn finished(&mut self, index: usize, seats: u32, took: Duration) {
        if let Some(queue) = self.queues.get_mut(index) {
            queue.running_seats = queue.running_seats.saturating_sub(seats);
            queue.start += (took.as_secs_f64() - ESTIMATE) * f64::from(seats);
        }
    }

    /// Those that have something to do.
    pub(super) fn standings(&self) -> Vec<Standing> {
        let active = self.queues.iter().enumerate().filter(|(_, queue)| queue.waiting_seats + queue.running_seats > 0);
        let standing = |(index, queue): (usize, &Queue<T>)| Standing {
            index,
            waiting: queue.waiting.len(),
            waiting_seats: queue.waiting_seats,
            running_seats: queue.running_seats,
            start: queue.start,
        };
        active.map(standing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets one go and ends it after `millis`.
    fn serve(queues: &mut Queues<&'static str>, millis: u64) -> &'static str {
        let (index, seats) = queues.next().expect("somebody waits");
        let item = queues.pop(index).expect("it is there");
        queues.finished(index, seats, Duration::from_millis(millis));
        item
    }

    #[test]
    fn a_flow_with_one_request_waits_for_no_flood() {
        let mut queues = Queues::new(4, 100);
        for _ in 0..50 {
            queues.push(&[0], 1, "flood").expect("has room");
        }
        for _ in 0..10 {
            serve(&mut queues, 3);
        }
        queues.push(&[1], 1, "single").expect("has room");
        let served: Vec<&str> = (0..2).map(|_| serve(&mut queues, 3)).collect();
        assert!(served.contains(&"single"), "{served:?}");
    }

    #[test]
    fn a_flow_pays_for_seats_and_time() {
        let mut queues = Queues::new(2, 1000);
        for _ in 0..400 {
            queues.push(&[0], 1, "small").expect("has room");
            queues.push(&[1], 4, "wide").expect("has room");
        }
        let served: Vec<&str> = (0..100).map(|_| serve(&mut queues, 3)).collect();
        let small = served.iter().filter(|item| **item == "small").count();
        assert!((78..=82).contains(&small), "four for one: {small} of 100");
    }

    #[test]
    fn what_a_flow_took_before_it_had_nothing_to_do_is_forgotten() {
        let mut queues = Queues::new(2, 1000);
        queues.push(&[0], 10, "once").expect("has room");
        serve(&mut queues, 60_000);
        for _ in 0..50 {
            queues.push(&[1], 1, "busy").expect("has room");
        }
        queues.push(&[0], 1, "back").expect("has room");
        let served: Vec<&str> = (0..2).map(|_| serve(&mut queues, 3)).collect();
        assert!(served.contains(&"back"), "{served:?}");
    }

    #[test]
    fn a_full_queue_takes_no_more_and_another_of_the_hand_does() {
        let mut queues = Queues::new(2, 1);
        assert!(queues.push(&[0, 1], 1, "a").is_some());
        assert!(queues.push(&[0, 1], 1, "b").is_some());
        assert!(queues.push(&[0, 1], 1, "c").is_none());
        assert_eq!(queues.waiting(), 2);
    }

    #[test]
    fn who_went_away_is_not_served() {
        let mut queues = Queues::new(1, 10);
        let first = queues.push(&[0], 2, "gone").expect("has room");
        queues.push(&[0], 1, "next").expect("has room");
        assert!(queues.remove(first) && !queues.remove(first));
        assert_eq!((queues.waiting(), queues.waiting_seats()), (1, 1));
        assert_eq!(serve(&mut queues, 1), "next");
        assert!(queues.next().is_none());
    }
}
