//! How long a container that ended stays down: 10 s, doubling to 300 s, forgotten after 10 minutes of running.

use jiff::SignedDuration;
use mizzen_runtime::Exit;

use super::view::finished_at;

const BASE: SignedDuration = SignedDuration::from_secs(10);
const CAP: SignedDuration = SignedDuration::from_secs(300);
const FORGIVEN: SignedDuration = SignedDuration::from_secs(600);

/// Restarts in a row of one container. An agent that was restarted knows no more than the number of the attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The attempt that ran long enough for those before it to be forgotten, or was the first of another image.
    forgiven: u32,
    /// Of the attempt before.
    image: Option<String>,
}

impl Backoff {
    /// The time between this exit of the attempt and the next start. The first restart comes at once.
    pub(crate) fn delay(&mut self, attempt: u32, image: &str, exit: &Exit) -> SignedDuration {
        if self.image.as_deref().is_some_and(|before| before != image) {
            self.forgiven = attempt;
        }
        self.image = Some(image.to_owned());
        let started = exit.started_at.parse().unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        if started != jiff::Timestamp::UNIX_EPOCH && finished_at(exit).duration_since(started) >= FORGIVEN {
            self.forgiven = attempt;
        }
        delay(attempt.saturating_sub(self.forgiven))
    }
}

/// Doubling from 10 s; none for the first.
pub(crate) fn delay(failures: u32) -> SignedDuration {
    match failures.checked_sub(1) {
        None => SignedDuration::ZERO,
        Some(doublings) if doublings < 5 => BASE.saturating_mul(1 << doublings).min(CAP),
        Some(_) => CAP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_ten_seconds_to_five_minutes_after_a_first_restart_at_once() {
        let seconds: Vec<i64> = (0..8).map(|failures| delay(failures).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_minutes_of_running_are_a_new_beginning() {
        let mut backoff = Backoff::default();
        let exit =
            |finished: &str| Exit { started_at: "2026-01-01T00:00:00Z".into(), finished_at: finished.into(), ..Exit::default() };
        assert_eq!(backoff.delay(0, "i:1", &exit("2026-01-01T00:00:01Z")).as_secs(), 0);
        assert_eq!(backoff.delay(7, "i:1", &exit("2026-01-01T00:09:59Z")).as_secs(), 300);
        assert_eq!(backoff.delay(8, "i:1", &exit("2026-01-01T00:10:00Z")).as_secs(), 0);
        assert_eq!(backoff.delay(9, "i:1", &exit("2026-01-01T00:00:01Z")).as_secs(), 10);
    }

    #[test]
    fn another_image_begins_anew() {
        let mut backoff = Backoff::default();
        let exit = Exit::default();
        assert_eq!(backoff.delay(6, "i:1", &exit).as_secs(), 300, "an agent that was restarted counts on");
        let seconds: Vec<i64> = (7..10).map(|attempt| backoff.delay(attempt, "i:2", &exit).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20]);
    }
}
