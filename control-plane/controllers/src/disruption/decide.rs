//! What a disruption budget allows, from what is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::pod_view::PodView;
use crate::time::whole_seconds;

/// How long an eviction that was allowed is waited for: after that the pod counts again.
const PATIENCE: SignedDuration = SignedDuration::from_secs(120);

/// How many pods there should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) pods: i64,
    /// Of these, how many have to stay healthy.
    pub(super) healthy: i64,
}

/// Whether the number of pods that there should be is asked of who keeps them, not counted.
pub(super) fn asks_for_scale(spec: &Value) -> bool {
    let is_percentage = |field: &str| spec.get(field).is_some_and(Value::is_string);
    spec.get("maxUnavailable").is_some_and(|amount| !amount.is_null()) || is_percentage("minAvailable")
}

/// `scale` is how many pods there should be.
pub(super) fn expected(spec: &Value, scale: i64) -> Expected {
    let amount = |field: &str| spec.get(field).filter(|amount| !amount.is_null()).map(|amount| of_whole(amount, scale));
    let healthy = match (amount("maxUnavailable"), amount("minAvailable")) {
        (Some(most), _) => (scale - most).max(0),
        (None, Some(least)) => least,
        (None, None) => return Expected { pods: 0, healthy: 0 },
    };
    Expected { pods: scale, healthy }
}

/// A number, or a percentage rounded up.
fn of_whole(amount: &Value, whole: i64) -> i64 {
    match amount {
        Value::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            whole.saturating_mul(percent).saturating_add(99).div_euclid(100)
        }
        number => number.as_i64().unwrap_or(0),
    }
}

/// The evictions that are still waited for.
pub(super) fn disrupted(status: &Value, pods: &[Arc<PodView>], now: Timestamp) -> BTreeMap<String, Timestamp> {
    let noted = status.get("disruptedPods").and_then(Value::as_object).into_iter().flatten();
    let parsed = noted.filter_map(|(name, at)| Some((name, at.as_str()?.parse::<Timestamp>().ok()?)));
    let waited_for = parsed.filter(|(name, at)| {
        now.duration_since(*at) < PATIENCE && pods.iter().any(|pod| pod.key.name == **name && !pod.terminating)
    });
    waited_for.map(|(name, at)| (name.clone(), at)).collect()
}

/// When the first of them is given up.
pub(super) fn next_look(disrupted: &BTreeMap<String, Timestamp>, now: Timestamp) -> Option<Duration> {
    let first = disrupted.values().min()?;
    Duration::try_from((PATIENCE - now.duration_since(*first)).max(SignedDuration::from_secs(1))).ok()
}

/// The status of a budget of `generation`.
pub(super) fn status(
    old: &Value,
    generation: i64,
    expected: Expected,
    pods: &[Arc<PodView>],
    disrupted: &BTreeMap<String, Timestamp>,
    now: Timestamp,
) -> Value {
    let counts = |pod: &&Arc<PodView>| pod.ready && !pod.terminating && !disrupted.contains_key(&pod.key.name);
    let healthy = i64::try_from(pods.iter().filter(counts).count()).unwrap_or(i64::MAX);
    let allowed = if expected.pods <= 0 { 0 } else { (healthy - expected.healthy).max(0) };
    let mut status = json!({
        "observedGeneration": generation, "disruptionsAllowed": allowed, "currentHealthy": healthy,
        "desiredHealthy": expected.healthy, "expectedPods": expected.pods,
    });
    if !disrupted.is_empty() {
        status["disruptedPods"] = json!(disrupted);
    }
    let verdict = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    status["conditions"] = with_condition(old, generation, verdict, "", now);
    status
}

/// The status of a budget whose pods could not be counted: it allows nothing.
pub(super) fn failed(old: &Value, generation: i64, why: &str, now: Timestamp) -> Value {
    let mut status = old.clone();
    status["disruptionsAllowed"] = json!(0);
    status["conditions"] = with_condition(old, generation, ("False", "SyncFailed"), why, now);
    status
}

fn with_condition(old: &Value, generation: i64, (status, reason): (&str, &str), message: &str, now: Timestamp) -> Value {
    let mut conditions = old.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let at = conditions.iter().position(|condition| condition["type"] == "DisruptionAllowed");
    let old = at.map(|at| conditions.remove(at));
    let since = old
        .filter(|old| old["status"] == status)
        .and_then(|old| old.get("lastTransitionTime").cloned())
        .unwrap_or_else(|| json!(whole_seconds(now)));
    conditions.push(json!({"type": "DisruptionAllowed", "status": status, "reason": reason, "message": message,
        "observedGeneration": generation, "lastTransitionTime": since}));
    json!(conditions)
}

#[cfg(test)]
mod tests {
    use mizzen_api::ObjectRef;

    use super::*;

    fn pods(ready: usize, not: usize) -> Vec<Arc<PodView>> {
        let pod = |number: usize| PodView {
            key: ObjectRef::new("n", format!("p{number}")).into(),
            ready: number < ready,
            ..PodView::default()
        };
        (0..ready + not).map(|number| Arc::new(pod(number))).collect()
    }

    #[test]
    fn a_budget_is_a_number_or_a_percentage_of_either_side() {
        for (spec, scale, healthy) in [
            (json!({"minAvailable": 3}), 5, 3),
            (json!({"minAvailable": "50%"}), 5, 3),
            (json!({"maxUnavailable": 1}), 5, 4),
            (json!({"maxUnavailable": "30%"}), 10, 7),
            (json!({"maxUnavailable": "1%"}), 10, 9),
            (json!({"maxUnavailable": 7}), 5, 0),
        ] {
            assert_eq!(expected(&spec, scale), Expected { pods: scale, healthy }, "{spec}");
        }
        assert_eq!(expected(&json!({}), 5), Expected { pods: 0, healthy: 0 });
        assert!(asks_for_scale(&json!({"maxUnavailable": 1})) && asks_for_scale(&json!({"minAvailable": "1%"})));
        assert!(!asks_for_scale(&json!({"minAvailable": 1})));
    }

    #[test]
    fn an_eviction_under_way_counts_until_it_is_given_up() {
        let now = Timestamp::from_second(1000).expect("in range");
        let old = json!({"disruptedPods": {"p0": "1970-01-01T00:15:30Z", "p1": "1970-01-01T00:10:00Z", "gone": "1970-01-01T00:16:00Z"}});
        let (pods, expected) = (pods(3, 1), Expected { pods: 4, healthy: 1 });
        let under_way = disrupted(&old, &pods, now);
        assert_eq!(under_way.keys().collect::<Vec<_>>(), ["p0"]);
        assert_eq!(next_look(&under_way, now), Some(Duration::from_secs(50)));
        let status = status(&old, 2, expected, &pods, &under_way, now);
        assert_eq!((&status["currentHealthy"], &status["disruptionsAllowed"]), (&json!(2), &json!(1)));
        assert_eq!(status["conditions"][0]["reason"], "SufficientPods");
        let failed = failed(&status, 2, "why", now);
        assert_eq!((&failed["disruptionsAllowed"], &failed["conditions"][0]["reason"]), (&json!(0), &json!("SyncFailed")));
    }
}
