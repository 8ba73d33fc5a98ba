//! How long a pod may stay on a tainted node. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether the toleration covers the taint (`core/v1.Toleration`).
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    (effect.is_empty() || effect == taint.effect)
        && ((key.is_empty() && exists) || key == taint.key)
        && (exists || text(&toleration.value) == text(&taint.value))
}

/// How long until the pod has to go: zero for now, `None` for never. One that came after the taint, at `created`, has all of
/// its time from then on.
pub(super) fn time_left(
    taints: &[Taint],
    tolerations: &[Toleration],
    created: Option<Timestamp>,
    now: Timestamp,
) -> Option<Duration> {
    let left = |taint: &Taint| {
        let mut matching = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).peekable();
        if matching.peek().is_none() {
            return Some(Duration::ZERO);
        }
        let seconds = matching.filter_map(|toleration| toleration.toleration_seconds).min()?;
        let since = taint.time_added.as_ref().map_or(now, |time| time.0).max(created.unwrap_or(Timestamp::MIN));
        let left = SignedDuration::from_secs(seconds.max(0)) - now.duration_since(since);
        Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
    };
    taints.iter().filter(|taint| taint.effect == "NoExecute").filter_map(left).min()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates_every_taint() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let taint = |key: &str, effect: &str| Taint {
            key: key.into(),
            effect: effect.into(),
            time_added: Some(Time(at(100))),
            ..Taint::default()
        };
        let toleration = |key: &str, seconds: Option<i64>| Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            toleration_seconds: seconds,
            ..Toleration::default()
        };
        let (a, b) = (taint("a", "NoExecute"), taint("b", "NoExecute"));
        let seconds = |n| Some(Duration::from_secs(n));
        for (taints, tolerations, now, expected) in [
            (vec![], vec![], 100, None),
            (vec![taint("a", "NoSchedule")], vec![], 100, None),
            (vec![a.clone()], vec![], 100, seconds(0)),
            (vec![a.clone()], vec![toleration("a", None)], 9000, None),
            (vec![a.clone()], vec![toleration("a", Some(300))], 150, seconds(250)),
            (vec![a.clone()], vec![toleration("a", Some(300))], 500, seconds(0)),
            (vec![a.clone(), b.clone()], vec![toleration("a", Some(300)), toleration("b", Some(60))], 100, seconds(60)),
            (vec![a, b], vec![toleration("a", None)], 100, seconds(0)),
        ] {
            assert_eq!(time_left(&taints, &tolerations, None, at(now)), expected, "{tolerations:?} at {now}");
        }
        let (tainted, bears) = ([taint("a", "NoExecute")], [toleration("a", Some(300))]);
        assert_eq!(time_left(&tainted, &bears, Some(at(500)), at(600)), seconds(200));
    }
}
