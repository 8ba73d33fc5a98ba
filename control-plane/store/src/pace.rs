//! How often a crowd of watchers is woken: each time costs every one of them a turn on the processor, a TLS record and a
//! system call, whether it brings one change or fifty.

use std::time::Duration;

use tokio::time::Instant;

/// What waking one watcher costs at the least. A crowd rests for as long as waking it takes.
const EACH: Duration = Duration::from_micros(10);
/// Clocks are no finer: whoever would rest for less does not rest.
const SHORTEST: Duration = Duration::from_millis(1);
/// However many they are, nobody learns of a change later.
const LONGEST: Duration = Duration::from_millis(20);
/// A crowd rests on while more than one in so many has still to take what it was told last: who takes it later gets more at
/// once. The slowest are not waited for.
const SLOW: usize = 10;
/// A rest that brought fewer changes than this is not drawn out: the little that would still come costs those who wait for
/// what there is more than it saves.
const WORTHWHILE: usize = 3;

/// When watchers learn of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Now,
    /// The caller sees to it.
    At(Instant),
    /// With what came before.
    WithOthers,
}

/// When the watchers of one topic were woken last.
#[derive(Default)]
pub(crate) struct Pace {
    last: Option<Instant>,
    /// Somebody sees to it that they are woken.
    due: bool,
}

impl Pace {
    /// There is a change for so many watchers.
    pub(crate) fn changed(&mut self, watchers: usize, now: impl FnOnce() -> Instant) -> Told {
        let rest = EACH.saturating_mul(u32::try_from(watchers).unwrap_or(u32::MAX)).min(LONGEST);
        if self.due {
            return Told::WithOthers;
        }
        if rest < SHORTEST {
            return Told::Now;
        }
        let now = now();
        match self.last.map(|last| last + rest).filter(|until| *until > now) {
            Some(until) => {
                self.due = true;
                Told::At(until)
            }
            None => {
                self.told(now);
                Told::Now
            }
        }
    }

    /// Until when they rest on, with so many changes that `wait` to be told and so many watchers still `behind` what they were
    /// told last; `None` if they are woken now.
    pub(crate) fn rests_on(&self, wait: usize, behind: usize, watchers: usize, now: Instant) -> Option<Instant> {
        let latest = self.last? + LONGEST;
        let rests = wait >= WORTHWHILE && behind > watchers / SLOW && now < latest;
        rests.then(|| latest.min(now + SHORTEST))
    }

    /// They are woken.
    pub(crate) fn told(&mut self, now: Instant) {
        (self.last, self.due) = (Some(now), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_watchers_are_told_at_once_and_many_after_a_rest() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |micros| move || start + Duration::from_micros(micros);
        assert_eq!((pace.changed(99, at(0)), pace.changed(99, at(1))), (Told::Now, Told::Now));
        assert_eq!(pace.changed(300, at(2)), Told::Now);
        assert_eq!(pace.changed(300, at(5)), Told::At(start + Duration::from_micros(3002)));
        assert_eq!((pace.changed(300, at(9)), pace.changed(1, at(10))), (Told::WithOthers, Told::WithOthers));
        pace.told(at(3002)());
        assert_eq!(pace.changed(100_000, at(3003)), Told::At(start + Duration::from_micros(23_002)));
        pace.told(at(23_002)());
        assert_eq!(pace.changed(300, at(26_002)), Told::Now);
    }

    #[test]
    fn a_crowd_that_has_not_taken_the_last_changes_rests_on() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |micros| start + Duration::from_micros(micros);
        assert_eq!(pace.rests_on(9, 1000, 1000, start), None);
        pace.told(start);
        assert_eq!(pace.rests_on(9, 100, 1000, at(10_000)), None);
        assert_eq!(pace.rests_on(9, 101, 1000, at(10_000)), Some(at(11_000)));
        assert_eq!(pace.rests_on(9, 1000, 1000, at(19_500)), Some(at(20_000)));
        assert_eq!(pace.rests_on(9, 1000, 1000, at(20_000)), None);
    }

    #[test]
    fn a_crowd_for_which_little_came_does_not_rest_on() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.told(start);
        let rests_on = |changes| pace.rests_on(changes, 1000, 1000, start + Duration::from_millis(10)).is_some();
        assert_eq!([1, 2, 3].map(rests_on), [false, false, true]);
    }
}
