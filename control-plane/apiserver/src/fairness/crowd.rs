//! Who asks so much that everybody else would wait behind it. In fair turns the next request of another client still waits until the
//! threads that hear of requests have read what of the flood they had heard of before; so while others ask as well, the connections
//! of such a flow are served elsewhere (docs/decisions/0072).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Flows are told apart by so many places; two that share one are taken for one.
const PLACES: usize = 256;
/// Microseconds, about: requests are counted for so long.
const WINDOW: u64 = 4096;
/// As much in a window is a crowd: sixteen thousand small requests a second. Small writes, which wait for a disk, never come to that.
const MANY: u64 = 64;
/// A crowd is one until it asks less than this: served elsewhere, it is slower.
const FEWER: u64 = 16;
/// Others are there for so long after they asked.
const PRESENT: Duration = Duration::from_secs(1);
/// So many bytes take as long to read or to send as a small request takes in all.
const BYTES: u64 = 16 * 1024;
/// A handshake takes as long as so many small requests.
pub(super) const HANDSHAKE: u64 = 16;

/// What a request costs that brings so many bytes, in small requests.
pub(super) fn cost(bytes: u64) -> u64 {
    1 + bytes / BYTES
}

/// Counts what flows ask, in small requests. The counts are of atomics that are read and written apart: one that is lost among thousands changes nothing.
pub(super) struct Crowds {
    /// The flow that asked last.
    last: AtomicU64,
    /// When, in microseconds, another asked than the one before it.
    others: AtomicU64,
    places: [AtomicU64; PLACES],
}

/// What a place knows: its window's number, whether it is a crowd, and how much was asked in the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    window: u64,
    crowd: bool,
    count: u64,
}

impl Place {
    const COUNT: u32 = 15;

    fn read(bits: u64) -> Self {
        let count = bits & ((1 << Self::COUNT) - 1);
        Self { window: bits >> (Self::COUNT + 1), crowd: bits >> Self::COUNT & 1 == 1, count }
    }

    fn written(self) -> u64 {
        self.window << (Self::COUNT + 1) | u64::from(self.crowd) << Self::COUNT | self.count
    }

    /// With so much more, in the window of that number.
    fn asked(self, cost: u64, window: u64) -> Self {
        let same = self.window == window;
        // Nobody asked in a window between.
        let went_on = same || self.window + 1 == window && self.count >= FEWER;
        let before = if same { self.count } else { 0 };
        let count = before.saturating_add(cost).min((1 << Self::COUNT) - 1);
        Self { window, crowd: self.crowd && went_on || count >= MANY, count }
    }
}

impl Crowds {
    pub(super) fn new() -> Self {
        Self { last: AtomicU64::new(0), others: AtomicU64::new(0), places: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Somebody asks, at `now`, counted from when this was made.
    pub(super) fn is_there(&self, flow: u64, now: Duration) {
        if self.last.load(Ordering::Relaxed) != flow {
            self.last.store(flow, Ordering::Relaxed);
            self.others.store(micros(now), Ordering::Relaxed);
        }
    }

    /// A flow has asked for so much more. Returns whether it is a crowd that others are to be kept from.
    pub(super) fn adds(&self, flow: u64, cost: u64, now: Duration) -> bool {
        let place = &self.places[usize::try_from(flow % PLACES as u64).unwrap_or(0)];
        // The first window has number 1: nobody has asked in that of number 0.
        let known = Place::read(place.load(Ordering::Relaxed)).asked(cost, micros(now) / WINDOW + 1);
        place.store(known.written(), Ordering::Relaxed);
        let others = self.others.load(Ordering::Relaxed);
        known.crowd && micros(now).saturating_sub(others) < micros(PRESENT)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Duration {
        // A while after the start, when nobody is taken for present.
        Duration::from_secs(60) + Duration::from_micros(micros)
    }

    fn asks(crowds: &Crowds, flow: u64, cost: u64, now: Duration) -> bool {
        crowds.is_there(flow, now);
        crowds.adds(flow, cost, now)
    }

    /// Asks every 20 µs for so many times, and says whether it is a crowd at the end.
    fn floods(crowds: &Crowds, flow: u64, from: u64, times: u64) -> bool {
        let mut is_crowd = false;
        for time in 0..times {
            is_crowd = asks(crowds, flow, 1, at(from + 20 * time));
        }
        is_crowd
    }

    #[test]
    fn who_floods_is_a_crowd_while_others_ask() {
        let crowds = Crowds::new();
        assert!(!asks(&crowds, 2, 1, at(0)));
        assert!(!floods(&crowds, 1, 0, 20));
        assert!(floods(&crowds, 1, 1_000, 1_000));
        assert!(!asks(&crowds, 2, 1, at(21_000)));
        assert!(floods(&crowds, 1, 21_020, 10));
    }

    #[test]
    fn who_is_alone_is_never_a_crowd() {
        let crowds = Crowds::new();
        // The first that asks is another than nobody.
        asks(&crowds, 1, 1, Duration::ZERO);
        assert!(!floods(&crowds, 1, 0, 10_000));
        crowds.is_there(u64::MAX, at(200_000));
        assert!(floods(&crowds, 1, 200_020, 10));
        let later = 200_020 + 1_100_000;
        assert!(!floods(&crowds, 1, later, 10_000));
    }

    #[test]
    fn few_large_requests_are_a_crowd_as_well() {
        let crowds = Crowds::new();
        asks(&crowds, 2, 1, at(0));
        for time in 0..7 {
            assert!(!asks(&crowds, 1, cost(100_000), at(20 * time)), "{time}");
        }
        asks(&crowds, 1, cost(100_000), at(160));
        asks(&crowds, 1, cost(100_000), at(180));
        assert!(asks(&crowds, 1, cost(100_000), at(200)));
    }

    #[test]
    fn a_crowd_that_asks_less_is_none() {
        let crowds = Crowds::new();
        asks(&crowds, 2, 1, at(0));
        assert!(floods(&crowds, 1, 0, 1_000));
        // Slower than it takes to become one, and faster than it takes to end it.
        let mut is_crowd = true;
        for time in 0..100 {
            is_crowd &= asks(&crowds, 1, 1, at(20_000 + 200 * time));
        }
        assert!(is_crowd);
        let mut is_crowd = true;
        for time in 0..100 {
            is_crowd = asks(&crowds, 1, 1, at(40_000 + 1_000 * time));
        }
        assert!(!is_crowd);
    }
}
