//! Which requests a `FlowSchema` is about (`flowcontrol.apiserver.k8s.io/v1`, `PolicyRulesWithSubjects`).

use serde::Deserialize;

use crate::auth::{Action, Identity};

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// `FlowSchemaSpec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SchemaSpec {
    pub(super) priority_level_configuration: Reference,
    pub(super) matching_precedence: i32,
    distinguisher_method: Option<Method>,
    rules: Vec<Rules>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Reference {
    pub(super) name: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Method {
    #[serde(rename = "type")]
    kind: Distinguisher,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
enum Distinguisher {
    ByUser,
    ByNamespace,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rules {
    subjects: Vec<Subject>,
    resource_rules: Vec<ResourceRule>,
    non_resource_rules: Vec<PathRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Subject {
    user: Option<Named>,
    group: Option<Named>,
    service_account: Option<Account>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Account {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceRule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    cluster_scope: bool,
    namespaces: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PathRule {
    verbs: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
}

impl SchemaSpec {
    pub(super) fn matches(&self, user: &Identity, action: &Action<'_>) -> bool {
        self.rules.iter().any(|rules| {
            rules.subjects.iter().any(|subject| subject.matches(user))
                && match action {
                    Action::Resource { .. } => rules.resource_rules.iter().any(|rule| rule.matches(action)),
                    Action::Path { verb, path } => rules.non_resource_rules.iter().any(|rule| rule.matches(verb, path)),
                }
        })
    }

    /// What tells the flows of one schema apart.
    pub(super) fn distinguisher<'a>(&self, user: &'a Identity, action: &Action<'a>) -> &'a str {
        match self.distinguisher_method.as_ref().map(|method| method.kind) {
            None => "",
            Some(Distinguisher::ByUser) => &user.username,
            Some(Distinguisher::ByNamespace) => namespace(action),
        }
    }
}

/// A namespace is inside itself.
fn namespace<'a>(action: &Action<'a>) -> &'a str {
    match action {
        Action::Resource { group: "", resource: "namespaces", name, .. } => name,
        Action::Resource { namespace, .. } => namespace,
        Action::Path { .. } => "",
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Subject {
    fn matches(&self, user: &Identity) -> bool {
        let is = |name: &str, own: &str| name == "*" || name == own;
        self.user.as_ref().is_some_and(|wanted| is(&wanted.name, &user.username))
            || self.group.as_ref().is_some_and(|wanted| user.groups.iter().any(|group| is(&wanted.name, group)))
            || self.service_account.as_ref().is_some_and(|wanted| {
                let own = user.username.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':'));
                own.is_some_and(|(namespace, name)| namespace == wanted.namespace && is(&wanted.name, name))
            })
    }
}

impl ResourceRule {
    fn matches(&self, action: &Action<'_>) -> bool {
        let Action::Resource { verb, group, resource, subresource, .. } = action else { return false };
        let in_scope = match namespace(action) {
            "" => self.cluster_scope,
            namespace => has(&self.namespaces, namespace),
        };
        in_scope && has(&self.verbs, verb) && has(&self.api_groups, group) && self.names(resource, subresource)
    }

    /// A subresource is named with its resource: `nodes/status`.
    fn names(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|rule| match rule.split_once('/') {
            None => rule == "*" || (subresource.is_empty() && rule == resource),
            Some((named, below)) => named == resource && below == subresource,
        })
    }
}

impl PathRule {
    fn matches(&self, verb: &str, path: &str) -> bool {
        let is_below = |url: &String| match url.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => url == path,
        };
        has(&self.verbs, verb) && self.non_resource_urls.iter().any(is_below)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn schema(rules: Value) -> SchemaSpec {
        serde_json::from_value(json!({"rules": [rules]})).expect("a schema")
    }

    fn get<'a>(group: &'a str, resource: &'a str, subresource: &'a str, namespace: &'a str) -> Action<'a> {
        Action::Resource { verb: "get", group, resource, subresource, namespace, name: "n" }
    }

    #[test]
    fn users_groups_and_accounts_are_told_apart() {
        let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]);
        let of = |subject: Value| schema(json!({"subjects": [subject], "resourceRules": everything}));
        let account = Identity::component("system:serviceaccount:ci:robot", &["system:serviceaccounts"]);
        let rows = [
            (json!({"kind": "User", "user": {"name": "eve"}}), false),
            (json!({"kind": "User", "user": {"name": "*"}}), true),
            (json!({"kind": "Group", "group": {"name": "system:serviceaccounts"}}), true),
            (json!({"kind": "Group", "group": {"name": "system:nodes"}}), false),
            (json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "ci", "name": "*"}}), true),
            (json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "ci", "name": "other"}}), false),
            (json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "cd", "name": "robot"}}), false),
        ];
        for (subject, matches) in rows {
            assert_eq!(of(subject.clone()).matches(&account, &get("", "pods", "", "a")), matches, "{subject}");
        }
    }

    #[test]
    fn a_rule_names_resources_and_where_they_are() {
        let everybody = json!([{"kind": "Group", "group": {"name": "*"}}]);
        let rule = |namespaces: Value, cluster: bool| {
            schema(json!({"subjects": everybody, "resourceRules": [{"verbs": ["get"], "apiGroups": [""],
                "resources": ["nodes", "nodes/status", "namespaces", "pods"], "namespaces": namespaces, "clusterScope": cluster}]}))
        };
        let user = Identity::component("eve", &[]);
        let (cluster, one) = (rule(json!([]), true), rule(json!(["a"]), false));
        assert!(cluster.matches(&user, &get("", "nodes", "", "")) && cluster.matches(&user, &get("", "nodes", "status", "")));
        assert!(
            !cluster.matches(&user, &get("", "nodes", "proxy", "")) && !cluster.matches(&user, &get("apps", "nodes", "", ""))
        );
        assert!(!cluster.matches(&user, &get("", "pods", "", "a")) && one.matches(&user, &get("", "pods", "", "a")));
        assert!(!one.matches(&user, &get("", "pods", "", "b")) && !one.matches(&user, &get("", "nodes", "", "")));
        // The namespace `n` is inside itself.
        assert!(!cluster.matches(&user, &get("", "namespaces", "", "")));
        assert!(!one.matches(&user, &Action::Path { verb: "get", path: "/version" }));
    }

    #[test]
    fn paths_match_by_prefix_where_they_say_so() {
        let everybody = json!([{"kind": "Group", "group": {"name": "system:authenticated"}}]);
        let rule =
            json!({"subjects": everybody, "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]}]});
        let (rule, user) = (schema(rule), Identity::component("eve", &[]));
        let matches = |verb, path| rule.matches(&user, &Action::Path { verb, path });
        assert!(matches("get", "/healthz") && matches("get", "/api/v1"));
        assert!(!matches("get", "/healthz/ping") && !matches("post", "/healthz"));
    }
}
