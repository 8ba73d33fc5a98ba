//! Reports as the Policy Working Group has them: one for each object, named after it and owned by it.

use std::collections::BTreeMap;

use mizzen_api::{GroupVersionKind, ResourceDescriptor};
use serde_json::{Value, json};

use super::Asked;

/// Who found it.
const SOURCE: &str = "mizzen";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const POLICY_UID: &str = "policy-uid";
/// Characters of a message.
const LONGEST: usize = 1024;

/// What comes of asking, in the words of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Outcome {
    Pass,
    Fail,
    Warn,
    Error,
}

impl Outcome {
    pub(in super::super) const ALL: [Self; 4] = [Self::Pass, Self::Fail, Self::Warn, Self::Error];

    pub(in super::super) fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What one policy says of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Finding {
    pub(in super::super) outcome: Outcome,
    /// For people; may be empty.
    message: String,
}

impl Finding {
    fn new(outcome: Outcome, message: impl AsRef<str>) -> Self {
        Self { outcome, message: message.as_ref().chars().take(LONGEST).collect() }
    }

    pub(in super::super) fn pass() -> Self {
        Self::new(Outcome::Pass, "")
    }

    pub(in super::super) fn fail(why: impl AsRef<str>) -> Self {
        Self::new(Outcome::Fail, why)
    }

    pub(in super::super) fn warn(why: impl AsRef<str>) -> Self {
        Self::new(Outcome::Warn, why)
    }

    pub(in super::super) fn error(why: impl AsRef<str>) -> Self {
        Self::new(Outcome::Error, why)
    }
}

/// A report that there is to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    pub(super) namespace: String,
    pub(super) name: String,
    owner: Value,
    scope: Value,
    /// Without their times.
    results: Vec<Value>,
    /// The uids of the policies that are lost: what they said last stands.
    lost: Vec<String>,
}

/// Whether the report is one of ours.
pub(super) fn is_ours(labels: &BTreeMap<String, String>) -> bool {
    labels.get(MANAGED_BY).is_some_and(|by| by == SOURCE)
}

/// The report on an object, from what the policies (by their places) say; `None` when none was asked.
pub(super) fn of(
    descriptor: &ResourceDescriptor,
    document: &Value,
    asked: &[Asked],
    findings: &[(usize, Finding)],
) -> Option<Report> {
    if findings.is_empty() {
        return None;
    }
    let text = |field: &str| document["metadata"][field].as_str().unwrap_or_default();
    let (kind, api_version) = (&*descriptor.kind, document["apiVersion"].as_str().unwrap_or_default());
    let (namespace, name, uid) = (text("namespace"), text("name"), text("uid"));
    let mut scope = json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid});
    if !namespace.is_empty() {
        scope["namespace"] = json!(namespace);
    }
    let lost = findings.iter().map(|(place, _)| &asked[*place]).filter(|asked| asked.policy.is_none());
    Some(Report {
        namespace: namespace.to_owned(),
        // Other tools name theirs by the uid alone.
        name: format!("{SOURCE}-{uid}"),
        owner: json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid}),
        scope,
        lost: lost.map(|asked| asked.plugin.uid.clone()).collect(),
        results: findings.iter().map(|(place, finding)| result(&asked[*place], finding)).collect(),
    })
}

fn result(Asked { plugin, .. }: &Asked, finding: &Finding) -> Value {
    let mut result = json!({
        "source": SOURCE, "policy": plugin.object.to_string(), "rule": plugin.object.name, "result": finding.outcome.as_str(),
        "scored": true,
        "properties": {
            "mode": plugin.mode.as_str(), POLICY_UID: plugin.uid,
            (if plugin.is_mutating { "mutating" } else { "validating" }): "true",
        },
    });
    for (field, text) in [("message", &finding.message), ("severity", &plugin.severity), ("category", &plugin.category)] {
        if !text.is_empty() {
            result[field] = json!(text);
        }
    }
    result
}

fn summary(results: &[Value]) -> Value {
    let count = |outcome: Outcome| results.iter().filter(|result| result["result"] == outcome.as_str()).count();
    let mut summary: Value = Outcome::ALL.iter().map(|outcome| (outcome.as_str().to_owned(), json!(count(*outcome)))).collect();
    summary["skip"] = json!(0);
    summary
}

impl Report {
    /// The report as it is created.
    pub(super) fn document(self, kind: &GroupVersionKind, now: jiff::Timestamp) -> Value {
        let metadata = json!({"name": self.name, "labels": {MANAGED_BY: SOURCE}, "ownerReferences": [self.owner]});
        let summary = summary(&self.results);
        let results = dated(self.results, &Value::Null, now);
        json!({"apiVersion": format!("{}/{}", kind.group, kind.version), "kind": &*kind.kind, "metadata": metadata,
            "scope": self.scope, "summary": summary, "results": results})
    }

    /// What is there, made to say this; `None` when it does already. A result keeps its time as long as it is the same.
    pub(super) fn over(mut self, mut present: Value, now: jiff::Timestamp) -> Option<Value> {
        for result in &mut self.results {
            let uid = &result["properties"][POLICY_UID];
            if self.lost.iter().any(|lost| uid == lost)
                && let Some(last) = list(&present["results"]).find(|known| known["properties"][POLICY_UID] == *uid)
            {
                *result = timeless(last);
            }
        }
        let summary = summary(&self.results);
        let results = dated(self.results, &present["results"], now);
        let owners = json!([self.owner]);
        let says = present["scope"] == self.scope
            && present["summary"] == summary
            && present["results"] == results
            && present["metadata"]["ownerReferences"] == owners
            && present["metadata"]["labels"][MANAGED_BY] == SOURCE;
        if says {
            return None;
        }
        present["scope"] = self.scope;
        present["summary"] = summary;
        present["results"] = results;
        present["metadata"]["ownerReferences"] = owners;
        present["metadata"]["labels"][MANAGED_BY] = json!(SOURCE);
        Some(present)
    }
}

fn list(results: &Value) -> impl Iterator<Item = &Value> {
    results.as_array().into_iter().flatten()
}

fn timeless(result: &Value) -> Value {
    let mut result = result.clone();
    result.as_object_mut().and_then(|fields| fields.remove("timestamp"));
    result
}

fn dated(mut results: Vec<Value>, before: &Value, now: jiff::Timestamp) -> Value {
    for result in &mut results {
        let known = list(before).find(|known| timeless(known) == *result);
        let since = known.map(|known| known["timestamp"].clone()).filter(|since| !since.is_null());
        result["timestamp"] = since.unwrap_or_else(|| json!({"seconds": now.as_second(), "nanos": 0}));
    }
    Value::Array(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(message: &str) -> Report {
        let properties = json!({POLICY_UID: "t"});
        let result = json!({"source": SOURCE, "policy": "team", "result": "fail", "message": message, "properties": properties});
        let about = json!({"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u"});
        let pass = json!({"source": SOURCE, "policy": "other", "result": "pass"});
        let (namespace, name) = ("default".to_owned(), "mizzen-u".to_owned());
        Report { namespace, name, owner: about.clone(), scope: about, results: vec![result, pass], lost: Vec::new() }
    }

    #[test]
    fn a_report_that_says_it_all_is_left_and_results_keep_their_time() {
        let kind = GroupVersionKind::new("wgpolicyk8s.io", "v1alpha2", "PolicyReport");
        let (first, later) = (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::from_second(60).expect("a time"));
        let mut present = report("no team").document(&kind, first);
        assert_eq!(present["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "mizzen"}));
        present["metadata"]["annotations"] = json!({"of": "somebody"});
        assert_eq!(report("no team").over(present.clone(), later), None);
        let changed = report("no name").over(present, later).expect("says something else");
        let times: Vec<&Value> =
            changed["results"].as_array().expect("is a list").iter().map(|result| &result["timestamp"]["seconds"]).collect();
        assert_eq!(times, [&json!(60), &json!(0)]);
        assert_eq!(changed["summary"], json!({"pass": 1, "fail": 1, "warn": 0, "error": 0, "skip": 0}));
        assert_eq!(changed["metadata"]["annotations"]["of"], "somebody");
    }

    #[test]
    fn what_a_lost_policy_said_last_stands() {
        let kind = GroupVersionKind::new("wgpolicyk8s.io", "v1alpha2", "PolicyReport");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let lost = |uid: &str| {
            let mut lost = Report { lost: vec![uid.to_owned()], ..report("it is not loaded") };
            lost.results[0]["result"] = json!("error");
            lost
        };
        assert_eq!(lost("t").over(report("no team").document(&kind, now), now), None);
        let said = lost("other").over(report("no team").document(&kind, now), now).expect("it is not the one that is lost");
        assert_eq!((&said["results"][0]["message"], &said["summary"]["error"]), (&json!("it is not loaded"), &json!(1)));
        let never = lost("t").document(&kind, now);
        assert_eq!((&never["results"][0]["message"], &never["summary"]["error"]), (&json!("it is not loaded"), &json!(1)));
    }

    #[test]
    fn messages_have_an_end() {
        assert_eq!(Finding::fail("é".repeat(5000)).message.chars().count(), LONGEST);
    }
}
