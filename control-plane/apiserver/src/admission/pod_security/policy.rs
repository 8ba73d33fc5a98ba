//! What the labels of a namespace ask of its pods ("Pod Security Admission labels for namespaces").

use std::collections::BTreeMap;
use std::fmt;

use mizzen_api::status::Cause;
use mizzen_api::validate::invalid_text;

/// In the order of their strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "privileged" => Ok(Self::Privileged),
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err("must be one of privileged, baseline, restricted"),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// A level as some minor version of Kubernetes defined it; `None` is the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standard {
    pub(super) level: Level,
    pub(super) minor: Option<u32>,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minor {
            Some(minor) => write!(f, "{}:v1.{minor}", self.level.text()),
            None => write!(f, "{}:latest", self.level.text()),
        }
    }
}

const PREFIX: &str = "pod-security.kubernetes.io/";
const PRIVILEGED: Standard = Standard { level: Level::Privileged, minor: None };

/// `Ok` is the version; digits without leading zeros.
fn version(text: &str) -> Result<Option<u32>, &'static str> {
    const WRONG: &str = "must be \"latest\" or \"v1.x\"";
    if text == "latest" {
        return Ok(None);
    }
    let minor = text.strip_prefix("v1.").filter(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()));
    let minor = minor.filter(|minor| *minor == "0" || !minor.starts_with('0'));
    minor.and_then(|minor| minor.parse().ok()).map(Some).ok_or(WRONG)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: Standard,
    pub(super) audit: Standard,
    pub(super) warn: Standard,
}

impl Policy {
    /// The policy that counts, and what is wrong with the labels: what is to be enforced is then taken to be `restricted`.
    pub(super) fn of(labels: &BTreeMap<String, String>) -> (Self, Vec<Cause>) {
        let mut causes = Vec::new();
        let mut policy = Self { enforce: PRIVILEGED, audit: PRIVILEGED, warn: PRIVILEGED };
        // Every pod that is created comes here, and most namespaces ask for nothing.
        if !labels.keys().any(|label| label.starts_with(PREFIX)) {
            return (policy, causes);
        }
        let label = |mode: &str| format!("{PREFIX}{mode}");
        let mut enforces = false;
        let modes = [
            ("enforce", Level::Restricted, &mut policy.enforce),
            ("audit", Level::Privileged, &mut policy.audit),
            ("warn", Level::Privileged, &mut policy.warn),
        ];
        for (mode, otherwise, standard) in modes {
            let mut wrong = |label: &str, value: &str, why: &str| {
                causes.push(invalid_text(format!("metadata.labels[{label}]"), value, why));
            };
            let (of_level, of_version) = (label(mode), label(&format!("{mode}-version")));
            if let Some(value) = labels.get(&of_level) {
                let level = Level::parse(value);
                enforces |= mode == "enforce" && level.is_ok();
                standard.level = level.unwrap_or_else(|why| {
                    wrong(&of_level, value, why);
                    otherwise
                });
            }
            if let Some(value) = labels.get(&of_version) {
                standard.minor = version(value).unwrap_or_else(|why| {
                    wrong(&of_version, value, why);
                    None
                });
            }
        }
        // Who is refused pods wants to be told of it when the workload comes that will make them.
        if enforces && !labels.contains_key(&label("warn")) && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if !labels.contains_key(&label("warn-version")) {
                policy.warn.minor = policy.enforce.minor;
            }
        }
        (policy, causes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(labels: &[(&str, &str)]) -> (String, String, Vec<String>) {
        let labels =
            labels.iter().map(|(mode, value)| (format!("pod-security.kubernetes.io/{mode}"), (*value).to_owned())).collect();
        let (policy, causes) = Policy::of(&labels);
        (policy.enforce.to_string(), policy.warn.to_string(), causes.into_iter().map(|cause| cause.field).collect())
    }

    #[test]
    fn labels_name_a_level_and_the_version_that_defined_it() {
        let said = |enforce: &str, warn: &str, wrong: &[&str]| {
            let wrong = wrong.iter().map(|label| format!("metadata.labels[pod-security.kubernetes.io/{label}]")).collect();
            (enforce.to_owned(), warn.to_owned(), wrong)
        };
        assert_eq!(policy(&[]), said("privileged:latest", "privileged:latest", &[]));
        assert_eq!(
            policy(&[("enforce", "baseline"), ("enforce-version", "v1.24")]),
            said("baseline:v1.24", "baseline:v1.24", &[])
        );
        assert_eq!(policy(&[("enforce", "baseline"), ("warn", "privileged")]), said("baseline:latest", "privileged:latest", &[]));
        assert_eq!(policy(&[("enforce", "x")]), said("restricted:latest", "privileged:latest", &["enforce"]));
        assert_eq!(policy(&[("warn", "x"), ("audit-version", "1.2")]).2, said("", "", &["audit-version", "warn"]).2);
        for wrong in ["v1.01", "v1.", "v2.1", "1.3", "v1.4294967296", ""] {
            assert_eq!(policy(&[("enforce-version", wrong)]).2.len(), 1, "{wrong}");
        }
    }
}
