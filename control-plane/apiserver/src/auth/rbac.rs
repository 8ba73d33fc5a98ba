//! Role based access control (`rbac.authorization.k8s.io/v1`): an index over roles and bindings, swapped as a whole
//! whenever one of them changes, so that a decision takes no lock.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mizzen_api::Object;
use mizzen_store::{RangeOptions, Store, StoreError};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::{Action, Authorizer, Decision, Identity};

const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";
/// Members may do everything; RBAC is not asked, so that nobody can lock the cluster's owner out.
const SUPERUSERS: &str = "system:masters";
/// Between two tries to follow a store that fails.
const RETRY: Duration = Duration::from_millis(250);

/// `PolicyRule`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub api_groups: Vec<String>,
    pub resources: Vec<String>,
    pub resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

impl Rule {
    fn allows(&self, action: &Action<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        match action {
            Action::Path { verb, path } => {
                has(&self.verbs, verb)
                    && self.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
                        Some(prefix) => path.starts_with(prefix),
                        None => url == path,
                    })
            }
            Action::Resource { verb, group, resource, subresource, name, .. } => {
                has(&self.verbs, verb)
                    && has(&self.api_groups, group)
                    && self.resources.iter().any(|rule| matches_resource(rule, resource, subresource))
                    && (self.resource_names.is_empty() || self.resource_names.iter().any(|allowed| allowed == name))
            }
        }
    }
}

/// `*`, `pods`, `pods/log`, `*/scale`.
fn matches_resource(rule: &str, resource: &str, subresource: &str) -> bool {
    match rule.split_once('/') {
        None => rule == "*" || (subresource.is_empty() && rule == resource),
        Some(("*", rule_subresource)) => rule_subresource == subresource,
        Some((rule_resource, rule_subresource)) => rule_resource == resource && rule_subresource == subresource,
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Role {
    rules: Vec<Rule>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Binding {
    subjects: Vec<Subject>,
    role_ref: RoleRef,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RoleRef {
    kind: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

impl Subject {
    fn key(&self) -> SubjectKey {
        match self.kind.as_str() {
            "Group" => SubjectKey::Group(self.name.clone()),
            "ServiceAccount" => SubjectKey::User(format!("system:serviceaccount:{}:{}", self.namespace, self.name)),
            _ => SubjectKey::User(self.name.clone()),
        }
    }
}

#[derive(PartialEq, Eq, Hash)]
enum SubjectKey {
    User(String),
    Group(String),
}

/// What one binding gives to its subjects.
struct Grant {
    /// For the reason of a decision.
    source: String,
    rules: Arc<Vec<Rule>>,
}

type Grants = HashMap<SubjectKey, Vec<Arc<Grant>>>;

#[derive(Default)]
struct Index {
    everywhere: Grants,
    by_namespace: HashMap<String, Grants>,
}

impl Index {
    /// Pure: the index of these objects, `key` being the store's.
    fn build<'a>(objects: impl Iterator<Item = (&'a str, &'a Object)> + Clone) -> Self {
        let of = |resource: &'static str| {
            objects.clone().filter_map(move |(key, object)| Some((key.strip_prefix(PREFIX)?.strip_prefix(resource)?, object)))
        };
        let rules = |object: &Object| Arc::new(object.decode::<Role>().unwrap_or_default().rules);
        let cluster_roles: HashMap<String, _> =
            of("clusterroles/").map(|(key, object)| (key.to_owned(), rules(object))).collect();
        let roles: HashMap<String, _> = of("roles/").map(|(key, object)| (key.to_owned(), rules(object))).collect();
        let mut index = Self::default();
        let add = |grants: &mut Grants, kind: &str, object: &Object| {
            let binding: Binding = object.decode().unwrap_or_default();
            let head = object.head();
            let role = match binding.role_ref.kind.as_str() {
                "ClusterRole" => cluster_roles.get(&binding.role_ref.name),
                _ => roles.get(&format!("{}/{}", head.namespace, binding.role_ref.name)),
            };
            // A binding to a role that does not exist (yet) gives nothing.
            let Some(role) = role else { return };
            let source = format!("{kind} \"{}\" of {} \"{}\"", head.object_ref(), binding.role_ref.kind, binding.role_ref.name);
            let grant = Arc::new(Grant { source, rules: role.clone() });
            for subject in &binding.subjects {
                grants.entry(subject.key()).or_default().push(grant.clone());
            }
        };
        for (_, object) in of("clusterrolebindings/") {
            add(&mut index.everywhere, "ClusterRoleBinding", object);
        }
        for (_, object) in of("rolebindings/") {
            add(index.by_namespace.entry(object.head().namespace.clone()).or_default(), "RoleBinding", object);
        }
        index
    }

    fn grants<'a>(&'a self, user: &'a Identity, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let local = self.by_namespace.get(namespace).filter(|_| !namespace.is_empty());
        std::iter::once(&self.everywhere).chain(local).flat_map(move |grants| {
            let own = grants.get(&SubjectKey::User(user.username.clone()));
            let groups = user.groups.iter().filter_map(|group| grants.get(&SubjectKey::Group(group.clone())));
            own.into_iter().chain(groups).flatten().map(AsRef::as_ref)
        })
    }
}

/// The authorizer over a store's RBAC objects.
pub struct Rbac {
    index: ArcSwap<Index>,
    store: Arc<dyn Store>,
}

impl Rbac {
    /// Reads what is there, then follows changes until `cancel`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(store: Arc<dyn Store>, cancel: CancellationToken) -> Result<Arc<Self>, StoreError> {
        let rbac = Arc::new(Self { index: ArcSwap::default(), store });
        let from = rbac.rebuild()?;
        let follower = rbac.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = follower.follow(from) => {}
            }
        });
        Ok(rbac)
    }

    /// Reads everything anew; RBAC objects are few and change rarely.
    fn rebuild(&self) -> Result<u64, StoreError> {
        let range = self.store.range(PREFIX, &RangeOptions::default())?;
        self.index.store(Arc::new(Index::build(range.items.iter().map(|(key, object)| (&**key, &**object)))));
        Ok(range.revision)
    }

    /// Never ends by itself: an index that stands still would grant what has long been taken away.
    async fn follow(&self, mut from: u64) {
        loop {
            let Err(error) = self.follow_until_error(&mut from).await;
            if !matches!(error, StoreError::Compacted { .. }) {
                tracing::warn!(%error, "RBAC index does not follow changes, trying again");
                tokio::time::sleep(RETRY).await;
            }
            match self.rebuild() {
                Ok(revision) => from = revision,
                Err(error) => {
                    tracing::warn!(%error, "RBAC index cannot be read, trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn follow_until_error(&self, from: &mut u64) -> Result<Infallible, StoreError> {
        let mut watch = self.store.watch(PREFIX, *from)?;
        loop {
            watch.next().await?;
            *from = self.rebuild()?;
        }
    }

    /// Every rule that applies to `user` in `namespace`, for SelfSubjectRulesReview.
    pub fn rules(&self, user: &Identity, namespace: &str) -> Vec<Rule> {
        self.index.load().grants(user, namespace).flat_map(|grant| grant.rules.iter().cloned()).collect()
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, user: &Identity, action: &Action<'_>) -> Decision {
        if user.groups.iter().any(|group| group == SUPERUSERS) {
            return Decision::Allow { reason: String::new() };
        }
        let namespace = match action {
            Action::Resource { namespace, .. } => namespace,
            Action::Path { .. } => "",
        };
        let index = self.index.load();
        let granted = index.grants(user, namespace).find(|grant| grant.rules.iter().any(|rule| rule.allows(action)));
        match granted {
            Some(grant) => Decision::Allow { reason: format!("RBAC: allowed by {} to {}", grant.source, user.username) },
            None => Decision::NoOpinion { reason: String::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(value: &Value) -> Object {
        Object::new(serde_json::to_vec(value).expect("encodes"), 1)
    }

    fn world() -> Index {
        let objects = [
            (
                "clusterroles/view",
                json!({"metadata": {"name": "view"}, "rules": [
                {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]}]}),
            ),
            (
                "roles/dev/secret-a",
                json!({"metadata": {"name": "secret-a", "namespace": "dev"}, "rules": [
                {"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}]}),
            ),
            (
                "clusterrolebindings/viewers",
                json!({"metadata": {"name": "viewers"},
                "subjects": [{"kind": "Group", "name": "devs"}], "roleRef": {"kind": "ClusterRole", "name": "view"}}),
            ),
            (
                "rolebindings/dev/robot",
                json!({"metadata": {"name": "robot", "namespace": "dev"},
                "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "ci"}],
                "roleRef": {"kind": "Role", "name": "secret-a"}}),
            ),
        ];
        let objects: Vec<(String, Object)> =
            objects.iter().map(|(key, value)| (format!("{PREFIX}{key}"), object(value))).collect();
        Index::build(objects.iter().map(|(key, object)| (key.as_str(), object)))
    }

    fn resource<'a>(verb: &'a str, path: &'a str, namespace: &'a str, name: &'a str) -> Action<'a> {
        let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
        Action::Resource { verb, group: "", resource, subresource, namespace, name }
    }

    fn allowed(user: &Identity, action: &Action<'_>) -> bool {
        let namespace = match action {
            Action::Resource { namespace, .. } => *namespace,
            Action::Path { .. } => "",
        };
        world().grants(user, namespace).any(|grant| grant.rules.iter().any(|rule| rule.allows(action)))
    }

    #[test]
    fn a_group_gets_what_its_cluster_role_says_and_no_more() {
        let dev = Identity::component("eve", &["devs"]);
        assert!(allowed(&dev, &resource("get", "pods", "any", "x")));
        assert!(allowed(&dev, &resource("get", "pods/log", "any", "x")));
        assert!(!allowed(&dev, &resource("get", "pods/exec", "any", "x")));
        assert!(!allowed(&dev, &resource("delete", "pods", "any", "x")));
        assert!(allowed(&dev, &Action::Path { verb: "get", path: "/api/v1" }));
        assert!(!allowed(&dev, &Action::Path { verb: "get", path: "/metrics" }));
    }

    #[test]
    fn a_rule_names_a_resource_a_subresource_or_one_subresource_of_all() {
        let rows = [
            ("*", "pods", "", true),
            ("*", "pods", "log", true),
            ("pods", "pods", "", true),
            ("pods", "pods", "log", false),
            ("pods/log", "pods", "log", true),
            ("pods/log", "pods", "", false),
            ("*/scale", "deployments", "scale", true),
            ("*/scale", "deployments", "status", false),
            ("pods/*", "pods", "log", false),
            ("pods/*", "pods", "", false),
        ];
        for (rule, resource, subresource, matches) in rows {
            assert_eq!(matches_resource(rule, resource, subresource), matches, "{rule} on {resource}/{subresource}");
        }
    }

    #[test]
    fn a_role_binding_holds_in_its_namespace_for_its_account_and_names() {
        let robot = Identity::component("system:serviceaccount:ci:robot", &[]);
        assert!(allowed(&robot, &resource("update", "secrets", "dev", "a")));
        assert!(!allowed(&robot, &resource("update", "secrets", "dev", "b")));
        assert!(!allowed(&robot, &resource("update", "secrets", "prod", "a")));
        assert!(!allowed(&Identity::component("robot", &[]), &resource("update", "secrets", "dev", "a")));
    }
}
