//! When a plugin that fails is not asked any more, and when it is tried again.

use std::time::{Duration, Instant};

use mizzen_reconcile::Backoff;

#[derive(Debug)]
pub(crate) struct Breaker {
    /// Failures one after the other that open it.
    threshold: u32,
    backoff: Backoff,
    state: State,
    /// Times it opened since the plugin last worked.
    opened: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One call finds out how it is now.
    Probing {
        since: Instant,
    },
}

/// A probe that says nothing for so long is taken for lost.
const PROBE: Duration = Duration::from_secs(60);

impl Breaker {
    pub(crate) fn new(threshold: u32, backoff: Backoff) -> Self {
        Self { threshold: threshold.max(1), backoff, state: State::Closed { failures: 0 }, opened: 0 }
    }

    /// Whether a call may go ahead.
    ///
    /// # Errors
    /// How long to wait before the next try.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        let until = match self.state {
            State::Closed { .. } => return Ok(()),
            State::Open { until } => until,
            State::Probing { since } => since + PROBE,
        };
        if now < until {
            return Err(until - now);
        }
        self.state = State::Probing { since: now };
        Ok(())
    }

    pub(crate) fn succeeded(&mut self) {
        self.opened = 0;
        self.state = State::Closed { failures: 0 };
    }

    pub(crate) fn failed(&mut self, now: Instant) {
        let failures = match self.state {
            State::Closed { failures } => failures + 1,
            // Of a call that began before it opened.
            State::Open { .. } => return,
            State::Probing { .. } => self.threshold,
        };
        self.state = if failures < self.threshold {
            State::Closed { failures }
        } else {
            let until = now + self.backoff.delay(self.opened);
            self.opened = self.opened.saturating_add(1);
            State::Open { until }
        };
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    pub(crate) fn is_probing(&self) -> bool {
        matches!(self.state, State::Probing { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(3, Backoff::new(SECOND, 4 * SECOND))
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 0..2 {
            breaker.failed(now);
            breaker.failed(now);
            breaker.succeeded();
        }
        assert_eq!(breaker.admit(now), Ok(()));
        (0..3).for_each(|_| breaker.failed(now));
        assert_eq!(breaker.admit(now), Err(SECOND));
    }

    #[test]
    fn one_call_probes_and_decides() {
        let (mut breaker, now) = (breaker(), Instant::now());
        (0..3).for_each(|_| breaker.failed(now));
        let later = now + SECOND;
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.admit(later), Err(PROBE), "the probe is under way");
        breaker.failed(later);
        assert_eq!(breaker.admit(later), Err(2 * SECOND), "twice as long");
        assert_eq!(breaker.admit(later + 2 * SECOND), Ok(()));
        breaker.succeeded();
        assert!(breaker.is_closed());
        (0..3).for_each(|_| breaker.failed(later));
        assert_eq!(breaker.admit(later), Err(SECOND), "as short as at first");
    }

    #[test]
    fn the_wait_has_an_end() {
        let (mut breaker, mut now) = (breaker(), Instant::now());
        (0..3).for_each(|_| breaker.failed(now));
        let mut waits = Vec::new();
        for _ in 0..5 {
            let wait = breaker.admit(now).unwrap_err();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now);
        }
        assert_eq!(waits, [1, 2, 4, 4, 4]);
    }

    #[test]
    fn late_failures_of_earlier_calls_do_not_prolong_the_wait() {
        let (mut breaker, now) = (breaker(), Instant::now());
        (0..3).for_each(|_| breaker.failed(now));
        breaker.failed(now + SECOND / 2);
        assert_eq!(breaker.admit(now + SECOND), Ok(()));
    }
}
