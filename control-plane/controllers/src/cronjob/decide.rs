//! What a CronJob needs now. Pure.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJobSpec;
use mizzen_api::cron::Schedule;

/// What a CronJob does at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing until then; `None`: never.
    Wait(Option<Duration>),
    /// The time to start at was missed by too much.
    Missed(Timestamp),
    /// It is time for the next, and the last still runs.
    Held(Timestamp),
    /// With whether those that run are to end first.
    Start { at: Timestamp, replace: bool },
}

/// When it is to run next.
pub(super) fn next(schedule: &Schedule, zone: &TimeZone, now: Timestamp) -> Option<Duration> {
    Duration::try_from(schedule.next(now, zone)?.duration_since(now)).ok()
}

/// `since` is when a job was last started, or the CronJob made; `busy` whether a job of it runs.
pub(super) fn decide(
    spec: &CronJobSpec,
    schedule: &Schedule,
    zone: &TimeZone,
    since: Timestamp,
    busy: bool,
    now: Timestamp,
) -> Decision {
    if spec.suspend == Some(true) {
        return Decision::Wait(None);
    }
    let Some(at) = schedule.latest(since, now, zone) else { return Decision::Wait(next(schedule, zone, now)) };
    let late = now.duration_since(at);
    if spec.starting_deadline_seconds.is_some_and(|most| late > SignedDuration::from_secs(most)) {
        return Decision::Missed(at);
    }
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if busy => Decision::Held(at),
        policy => Decision::Start { at, replace: busy && policy == Some("Replace") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_starts_when_it_is_time_and_the_policy_lets_it() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let schedule = Schedule::parse("* * * * *").expect("parses");
        let decided = |policy: &str, deadline, busy, now| {
            let spec = CronJobSpec {
                concurrency_policy: Some(policy.to_owned()),
                starting_deadline_seconds: deadline,
                ..CronJobSpec::default()
            };
            decide(&spec, &schedule, &TimeZone::UTC, at(10), busy, at(now))
        };
        assert_eq!(decided("Allow", None, true, 40), Decision::Wait(Some(Duration::from_secs(20))));
        assert_eq!(decided("Allow", None, true, 60), Decision::Start { at: at(60), replace: false });
        assert_eq!(decided("Forbid", None, true, 130), Decision::Held(at(120)));
        assert_eq!(decided("Forbid", None, false, 130), Decision::Start { at: at(120), replace: false });
        assert_eq!(decided("Replace", None, true, 130), Decision::Start { at: at(120), replace: true });
        assert_eq!(decided("Allow", Some(5), false, 130), Decision::Missed(at(120)));
        let suspended = CronJobSpec { suspend: Some(true), ..CronJobSpec::default() };
        assert_eq!(decide(&suspended, &schedule, &TimeZone::UTC, at(10), false, at(60)), Decision::Wait(None));
    }
}
