//! The status of an object.

use serde_json::{Value, json};

use crate::loads::Statistics;
use crate::refusal::Refusal;
use crate::table::Live;

/// How the last try to load what the object asks for went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What is at work is what the object asks for.
    Current,
    /// As far as is known: the registry could not be asked again.
    Stale(Refusal),
    Refused(Refusal),
}

/// The status without what is counted. `idle` is why what is at work does not work everywhere that the object says.
pub(crate) fn status<P: ?Sized>(
    live: Option<&Live<P>>,
    outcome: &Outcome,
    idle: Option<Refusal>,
    generation: i64,
    old: &Value,
    now: jiff::Timestamp,
) -> Value {
    let at = live.map(|live| &live.component);
    let loaded = match (at, outcome) {
        (Some(component), _) => ("True", "Loaded", format!("{} is at work", component.digest)),
        (None, Outcome::Refused(why) | Outcome::Stale(why)) => ("False", why.reason, why.message.clone()),
        (None, Outcome::Current) => ("False", "NotLoaded", "nothing is loaded yet".to_owned()),
    };
    let ready = match (outcome, at) {
        (Outcome::Current, Some(_)) => ("True", "UpToDate", "what is at work is what the object asks for".to_owned()),
        (Outcome::Current, None) => ("False", "NotLoaded", "nothing is loaded yet".to_owned()),
        (Outcome::Stale(why), Some(_)) => {
            let message = format!("the image as it was last seen is at work; it could not be looked at again: {}", why.message);
            ("True", "RegistryUnreachable", message)
        }
        (Outcome::Refused(why) | Outcome::Stale(why), None) => ("False", why.reason, why.message.clone()),
        (Outcome::Refused(why), Some(component)) => {
            ("False", why.reason, format!("{}; {} stays at work", why.message, component.digest))
        }
    };
    let is_wanted = at.is_some() && !matches!(outcome, Outcome::Refused(_));
    let ready = idle.filter(|_| is_wanted).map_or(ready, |why| ("False", why.reason, why.message));
    whole(live, (loaded, ready), generation, old, now)
}

/// The status while the component with a digest is compiled for the first time.
pub(crate) fn compiling<P: ?Sized>(
    live: Option<&Live<P>>,
    digest: &str,
    generation: i64,
    old: &Value,
    now: jiff::Timestamp,
) -> Value {
    const COMPILING: &str = "Compiling";
    let message = format!("{digest} is being compiled");
    let (loaded, message) = match live.map(|live| &live.component.digest) {
        None => (("False", COMPILING, message.clone()), message),
        Some(present) => (
            ("True", "Loaded", format!("{present} is at work")),
            format!("{message}; {present} stays at work until that is done"),
        ),
    };
    whole(live, (loaded, ("False", COMPILING, message)), generation, old, now)
}

/// Status, reason and message of a condition.
type Said<'a> = (&'a str, &'a str, String);

fn whole<P: ?Sized>(
    live: Option<&Live<P>>,
    (loaded, ready): (Said<'_>, Said<'_>),
    generation: i64,
    old: &Value,
    now: jiff::Timestamp,
) -> Value {
    let at = live.map(|live| &live.component);
    let condition = |kind: &str, (status, reason, message): Said<'_>| {
        let before = old["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == kind);
        let since =
            before.filter(|condition| condition["status"] == status).map(|condition| condition["lastTransitionTime"].clone());
        let since = since.unwrap_or_else(|| json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
        json!({"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": generation,
               "lastTransitionTime": since})
    };
    json!({
        // What was once at work is remembered though it is lost: a policy that fails closed must not let pass then.
        "digest": at.map_or_else(|| old["digest"].clone(), |component| json!(component.digest)),
        "manifestDigest": at.map_or_else(|| old["manifestDigest"].clone(), |component| json!(component.manifest)),
        "observedGeneration": generation,
        "conditions": [condition("Loaded", loaded), condition("Ready", ready)],
    })
}

/// What is counted.
pub(crate) fn counted(statistics: &Statistics) -> Value {
    json!({
        "calls": statistics.calls, "errors": statistics.errors, "memoryBytes": statistics.memory,
        "latency": {"p50Microseconds": statistics.p50, "p99Microseconds": statistics.p99},
        "shadow": statistics.shadow.map(|shadow| json!({
            "decisions": shadow.decisions, "elsewhere": shadow.elsewhere, "unplaced": shadow.unplaced, "nodes": shadow.nodes,
            "rejectedNodes": shadow.rejected_nodes,
        })),
    })
}

/// Whether a status says all that `wanted` says.
pub(crate) fn says(old: &Value, wanted: &Value) -> bool {
    match (old, wanted) {
        (Value::Object(old), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| says(old.get(key).unwrap_or(&Value::Null), value))
        }
        (old, wanted) => old == wanted,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fetch::Component;
    use crate::wanted::Terms;

    fn live() -> Live<()> {
        let component =
            Component { manifest: "sha256:aa".to_owned(), digest: "sha256:bb".to_owned(), path: "a".into(), signer: None };
        Live { plugin: Arc::new(()), component, uid: String::new(), image: String::new(), terms: Terms::default() }
    }

    fn condition<'a>(status: &'a Value, kind: &str) -> (&'a str, &'a str, &'a str) {
        let mut all = status["conditions"].as_array().into_iter().flatten();
        let found = all.find(|condition| condition["type"] == kind).expect("is there");
        let text = |field: &str| found[field].as_str().unwrap_or_default();
        (text("status"), text("reason"), text("message"))
    }

    #[test]
    fn a_bad_one_is_told_and_the_good_one_that_stays_too() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let refused = Outcome::Refused(Refusal::new("InvalidSettings", "no labels"));
        let status = status(Some(&live()), &refused, None, 2, &Value::Null, now);
        assert_eq!(condition(&status, "Loaded"), ("True", "Loaded", "sha256:bb is at work"));
        assert_eq!(condition(&status, "Ready"), ("False", "InvalidSettings", "no labels; sha256:bb stays at work"));
        assert_eq!(status["digest"], "sha256:bb");
    }

    #[test]
    fn one_that_is_loaded_and_works_nowhere_is_not_ready() {
        let idle = || Some(Refusal::new("UnknownProfile", "no profile is called typo"));
        let status = |outcome| status(Some(&live()), &outcome, idle(), 1, &Value::Null, jiff::Timestamp::UNIX_EPOCH);
        let refused = status(Outcome::Refused(Refusal::new("PullFailed", "gone")));
        assert_eq!(condition(&refused, "Ready"), ("False", "PullFailed", "gone; sha256:bb stays at work"));
        let status = status(Outcome::Current);
        assert_eq!(condition(&status, "Loaded"), ("True", "Loaded", "sha256:bb is at work"));
        assert_eq!(condition(&status, "Ready"), ("False", "UnknownProfile", "no profile is called typo"));
    }

    #[test]
    fn while_a_component_is_compiled_the_one_at_work_is_told_of() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let first = compiling::<()>(None, "sha256:cc", 1, &Value::Null, now);
        for kind in ["Loaded", "Ready"] {
            assert_eq!(condition(&first, kind), ("False", "Compiling", "sha256:cc is being compiled"));
        }
        let next = compiling(Some(&live()), "sha256:cc", 2, &first, now);
        assert_eq!(condition(&next, "Loaded"), ("True", "Loaded", "sha256:bb is at work"));
        let message = "sha256:cc is being compiled; sha256:bb stays at work until that is done";
        assert_eq!(condition(&next, "Ready"), ("False", "Compiling", message));
        assert_eq!(next["digest"], "sha256:bb");
    }

    #[test]
    fn one_that_never_was_says_why_in_both_conditions() {
        let refused = Outcome::Refused(Refusal::new("PullFailed", "not there"));
        let status = status::<()>(None, &refused, None, 1, &Value::Null, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(condition(&status, "Loaded"), ("False", "PullFailed", "not there"));
        assert_eq!(condition(&status, "Ready"), ("False", "PullFailed", "not there"));
        assert_eq!(status["digest"], Value::Null);
    }

    #[test]
    fn conditions_keep_their_time_while_they_hold_and_a_lost_digest_is_remembered() {
        let first = status(Some(&live()), &Outcome::Current, None, 1, &Value::Null, jiff::Timestamp::UNIX_EPOCH);
        let later = jiff::Timestamp::from_second(60).expect("is a time");
        let same = status(Some(&live()), &Outcome::Current, None, 1, &first, later);
        assert!(says(&first, &same));
        let lost = status::<()>(None, &Outcome::Refused(Refusal::new("PullFailed", "gone")), None, 1, &first, later);
        assert_eq!(lost["digest"], "sha256:bb");
        assert_eq!(lost["conditions"][0]["lastTransitionTime"], "1970-01-01T00:01:00Z");
    }
}
