//! Which requests are noted, and how much of them (`audit.k8s.io/v1`, `Policy`). The first rule that matches decides.

use serde::Deserialize;

use super::AuditError;
use crate::auth::{Action, Identity};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Deserialize)]
pub(super) enum Level {
    None,
    Metadata,
    Request,
    RequestResponse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    /// Nothing panics here; policies may name it all the same.
    Panic,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde_json::Value,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What is noted of one request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) level: Level,
    pub(super) omitted: Vec<Stage>,
    pub(super) omits_managed_fields: bool,
}

impl Policy {
    /// # Errors
    /// When the text is no policy, or one without rules.
    pub fn parse(text: &str) -> Result<Self, AuditError> {
        let policy: Self = serde_yaml_ng::from_str(text).map_err(|error| AuditError::Policy { why: error.to_string() })?;
        let why = |why: String| Err(AuditError::Policy { why });
        if policy.api_version != "audit.k8s.io/v1" || policy.kind != "Policy" {
            return why(format!("it is a {} of {}, not a Policy of audit.k8s.io/v1", policy.kind, policy.api_version));
        }
        if policy.rules.is_empty() {
            return why("it has no rules".to_owned());
        }
        for rule in &policy.rules {
            let of_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if of_resources && !rule.non_resource_urls.is_empty() {
                return why("a rule cannot have nonResourceURLs beside resources or namespaces".to_owned());
            }
        }
        Ok(policy)
    }

    /// `None` where nothing is noted.
    pub(super) fn decide(&self, user: &Identity, action: &Action<'_>) -> Option<Decision> {
        let rule = self.rules.iter().find(|rule| rule.matches(user, action)).filter(|rule| rule.level != Level::None)?;
        Some(Decision {
            level: rule.level,
            omitted: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
            omits_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        })
    }
}

/// An empty list asks for nothing.
fn allows(list: &[String], wanted: &str) -> bool {
    list.is_empty() || list.iter().any(|item| item == wanted)
}

impl Rule {
    fn matches(&self, user: &Identity, action: &Action<'_>) -> bool {
        let (Action::Resource { verb, .. } | Action::Path { verb, .. }) = action;
        let of_group = || self.user_groups.is_empty() || self.user_groups.iter().any(|group| user.groups.contains(group));
        if !allows(&self.users, &user.username) || !of_group() || !allows(&self.verbs, verb) {
            return false;
        }
        match action {
            Action::Path { path, .. } => {
                let below = |url: &String| match url.strip_suffix('*') {
                    Some(prefix) => path.starts_with(prefix),
                    None => url == path,
                };
                let about_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
                self.non_resource_urls.iter().any(below) || (self.non_resource_urls.is_empty() && !about_resources)
            }
            Action::Resource { group, resource, namespace, name, .. } => {
                // A namespace is inside itself.
                let inside = if (*group, *resource) == ("", "namespaces") { name } else { namespace };
                self.non_resource_urls.is_empty()
                    && allows(&self.namespaces, inside)
                    && (self.resources.is_empty() || self.resources.iter().any(|named| named.matches(action)))
            }
        }
    }
}

impl GroupResources {
    fn matches(&self, action: &Action<'_>) -> bool {
        let Action::Resource { group, resource, subresource, name, .. } = action else { return false };
        if self.group != *group || !allows(&self.resource_names, name) {
            return false;
        }
        self.resources.is_empty()
            || self.resources.iter().any(|rule| match rule.split_once('/') {
                None => rule == "*" || (subresource.is_empty() && rule == resource),
                Some(("*", below)) => below == *subresource,
                Some((named, "*")) => named == *resource,
                Some((named, below)) => named == *resource && below == *subresource,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: [system:kube-proxy]
  verbs: [watch]
- level: None
  nonResourceURLs: [/healthz*, /version]
- level: RequestResponse
  resources: [{group: '', resources: [pods]}]
  omitManagedFields: false
- level: Metadata
  resources: [{group: '', resources: [secrets, pods/log, '*/status'], resourceNames: [a, b]}]
- level: Request
  namespaces: [kube-system]
  omitStages: [ResponseStarted]
- level: Metadata
  userGroups: [system:authenticated]
";

    fn level(user: &str, action: &Action<'_>) -> Option<Level> {
        let policy = Policy::parse(POLICY).expect("a policy");
        policy.decide(&Identity::component(user, &[]), action).map(|decision| decision.level)
    }

    fn get<'a>(resource: &'a str, subresource: &'a str, namespace: &'a str, name: &'a str) -> Action<'a> {
        Action::Resource { verb: "get", group: "", resource, subresource, namespace, name }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        assert_eq!(level("eve", &get("pods", "", "n", "p")), Some(Level::RequestResponse));
        assert_eq!(level("eve", &get("pods", "log", "n", "a")), Some(Level::Metadata));
        assert_eq!(level("eve", &get("configmaps", "", "kube-system", "c")), Some(Level::Request));
        assert_eq!(level("eve", &get("namespaces", "", "", "kube-system")), Some(Level::Request));
        assert_eq!(level("eve", &Action::Path { verb: "get", path: "/healthz/ping" }), None);
        assert_eq!(level("eve", &Action::Path { verb: "get", path: "/metrics" }), Some(Level::Metadata));
        let watch = Action::Resource { verb: "watch", group: "", resource: "pods", subresource: "", namespace: "", name: "" };
        assert_eq!(level("system:kube-proxy", &watch), None);
        let policy = Policy::parse(POLICY).expect("a policy");
        let nobody = Identity { username: "x".to_owned(), ..Identity::default() };
        assert_eq!(policy.decide(&nobody, &get("configmaps", "", "n", "c")), None);
    }

    #[test]
    fn stages_and_managed_fields_are_left_out_as_told() {
        let policy = Policy::parse(POLICY).expect("a policy");
        let eve = Identity::component("eve", &[]);
        let decision = policy.decide(&eve, &get("configmaps", "", "kube-system", "c")).expect("is noted");
        assert_eq!(decision.omitted, [Stage::RequestReceived, Stage::ResponseStarted]);
        assert!(decision.omits_managed_fields);
        assert!(!policy.decide(&eve, &get("pods", "", "n", "p")).expect("is noted").omits_managed_fields);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
        for (text, says) in [
            (format!("{head}rules: []"), "it has no rules"),
            (format!("{head}rules: [{{level: Some}}]"), "Some"),
            (format!("{head}rules: [{{level: None, user: [a]}}]"), "user"),
            (format!("{head}rules: [{{level: None, namespaces: [a], nonResourceURLs: [/a]}}]"), "nonResourceURLs"),
            ("apiVersion: v1\nkind: Policy\nrules: [{level: None}]".to_owned(), "not a Policy of audit.k8s.io/v1"),
        ] {
            let error = Policy::parse(&text).expect_err("is wrong").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
