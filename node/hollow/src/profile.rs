//! How hollow nodes look, and what becomes of their pods (docs/hollow-nodes.md).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use mizzen_api::quantity::Quantity;
use mizzen_api::selector::LabelSelector;
use serde::Deserialize;
use serde_json::Value;

use crate::pod::HollowPod;

#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("the profile cannot be parsed: {0}")]
    Parse(#[source] serde_yaml_ng::Error),
    #[error("{field}: {why}")]
    Invalid { field: String, why: String },
}

#[derive(Clone, Debug)]
pub struct Profile {
    pub nodes: NodeProfile,
    /// The first one that matches a pod holds for it; pods that none matches run until they are deleted.
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeProfile {
    pub capacity: BTreeMap<String, String>,
    /// Nodes take turns over this many zones, `zone-0` and on; 0 for none.
    pub zones: usize,
    pub labels: BTreeMap<String, String>,
    /// As in `spec.taints`.
    pub taints: Vec<Value>,
    /// Seconds between two renewals of a node's lease; the lease lasts four times as long.
    pub lease_renew_seconds: u32,
}

impl Default for NodeProfile {
    fn default() -> Self {
        let capacity = [("cpu", "32"), ("memory", "256Gi"), ("ephemeral-storage", "1Ti"), ("pods", "110")];
        Self {
            capacity: capacity.map(|(name, amount)| (name.to_owned(), amount.to_owned())).into(),
            zones: 0,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            lease_renew_seconds: 10,
        }
    }
}

/// What becomes of pods.
#[derive(Clone, Debug)]
pub struct Rule {
    pub selector: LabelSelector,
    /// From being bound to running.
    pub start_after: Duration,
    /// From running to the end of the containers; never when left out.
    pub finish_after: Option<Duration>,
    /// How many of a hundred ends are failures, with exit code 1.
    pub fail_percent: u8,
    /// From being deleted to being gone; at most the pod's grace.
    pub stop_after: Duration,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            selector: LabelSelector::everything(),
            start_after: Duration::ZERO,
            finish_after: None,
            fail_percent: 0,
            stop_after: Duration::ZERO,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    nodes: NodeProfile,
    pods: Vec<RuleFile>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RuleFile {
    selector: String,
    start_after: Option<String>,
    finish_after: Option<String>,
    fail_percent: u8,
    stop_after: Option<String>,
}

impl Profile {
    /// # Errors
    /// Names the field that is wrong.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let file: File = serde_yaml_ng::from_str(text).map_err(ProfileError::Parse)?;
        for (name, amount) in &file.nodes.capacity {
            if amount.parse::<Quantity>().is_err() {
                return Err(invalid(format!("nodes.capacity.{name}"), format!("{amount:?} is no quantity")));
            }
        }
        if file.nodes.lease_renew_seconds == 0 {
            return Err(invalid("nodes.leaseRenewSeconds".to_owned(), "has to be above 0".to_owned()));
        }
        let rules = file.pods.into_iter().enumerate().map(|(at, rule)| rule.resolve(at));
        Ok(Self { nodes: file.nodes, rules: rules.collect::<Result<_, _>>()? })
    }

    /// The rule of a pod.
    pub(crate) fn rule(&self, pod: &HollowPod) -> Rule {
        self.rules.iter().find(|rule| rule.selector.matches(&pod.labels)).cloned().unwrap_or_default()
    }
}

impl RuleFile {
    fn resolve(self, at: usize) -> Result<Rule, ProfileError> {
        let field = |name: &str| format!("pods[{at}].{name}");
        let duration = |name: &str, text: Option<String>| text.map(|text| parse_duration(&field(name), &text)).transpose();
        if self.fail_percent > 100 {
            return Err(invalid(field("failPercent"), format!("{} is more than 100", self.fail_percent)));
        }
        let selector = match self.selector.as_str() {
            "" => LabelSelector::everything(),
            text => LabelSelector::parse(text).map_err(|why| invalid(field("selector"), why.to_string()))?,
        };
        Ok(Rule {
            selector,
            start_after: duration("startAfter", self.start_after)?.unwrap_or_default(),
            finish_after: self.finish_after.map(|text| parse_finish_after(&field("finishAfter"), &text)).transpose()?,
            fail_percent: self.fail_percent,
            stop_after: duration("stopAfter", self.stop_after)?.unwrap_or_default(),
        })
    }
}

fn invalid(field: String, why: String) -> ProfileError {
    ProfileError::Invalid { field, why }
}

/// # Errors
/// When the text is no duration such as `1m30s`, or is below 0.
pub fn parse_duration(field: &str, text: &str) -> Result<Duration, ProfileError> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| invalid(field.to_owned(), format!("{text:?} is no duration, such as 500ms or 1m30s")))
}

/// # Errors
/// As [`parse_duration`], and below a second: containers that are restarted would end faster than that can be told.
pub fn parse_finish_after(field: &str, text: &str) -> Result<Duration, ProfileError> {
    let duration = parse_duration(field, text)?;
    if duration < Duration::from_secs(1) {
        return Err(invalid(field.to_owned(), format!("{text:?} is less than a second")));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_and_what_is_wrong_is_named() {
        let text = "nodes: {zones: 3, capacity: {cpu: \"8\"}}\npods:\n- {selector: app=job, startAfter: 500ms, finishAfter: 1m30s, failPercent: 10}\n- {}\n";
        let profile = Profile::parse(text).expect("is valid");
        assert_eq!((profile.nodes.zones, profile.nodes.lease_renew_seconds), (3, 10));
        assert_eq!(profile.rules[0].finish_after, Some(Duration::from_secs(90)));
        assert_eq!(profile.rules[0].start_after, Duration::from_millis(500));
        for (text, expected) in [
            ("pods: [{startAfter: soon}]", "pods[0].startAfter: \"soon\" is no duration, such as 500ms or 1m30s"),
            ("pods: [{finishAfter: 0s}]", "pods[0].finishAfter: \"0s\" is less than a second"),
            ("pods: [{}, {finishAfter: 999ms}]", "pods[1].finishAfter: \"999ms\" is less than a second"),
            ("pods: [{}, {failPercent: 101}]", "pods[1].failPercent: 101 is more than 100"),
            ("nodes: {capacity: {cpu: many}}", "nodes.capacity.cpu: \"many\" is no quantity"),
            ("nodes: {leaseRenewSeconds: 0}", "nodes.leaseRenewSeconds: has to be above 0"),
        ] {
            assert_eq!(Profile::parse(text).expect_err("is wrong").to_string(), expected);
        }
        assert!(Profile::parse("nodez: {}").expect_err("is unknown").to_string().contains("nodez"));
    }
}
