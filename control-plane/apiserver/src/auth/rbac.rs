//! Role based access control (`rbac.authorization.k8s.io/v1`): an index over roles and bindings, in which a change of one
//! object touches only what that object gives.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use mizzen_api::Object;
use mizzen_store::{RangeOptions, Store, StoreError};
use parking_lot::RwLock;
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
    pub(super) fn allows(&self, action: &Action<'_>) -> bool {
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
    /// An account is of the binding's own namespace where the subject names none.
    fn key(&self, namespace: &str) -> SubjectKey {
        match self.kind.as_str() {
            "Group" => SubjectKey::Group(self.name.clone()),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() { namespace } else { &self.namespace };
                SubjectKey::User(format!("system:serviceaccount:{namespace}:{}", self.name))
            }
            _ => SubjectKey::User(self.name.clone()),
        }
    }
}

enum SubjectKey {
    User(String),
    Group(String),
}

/// What one binding gives to its subjects.
struct Grant {
    /// For the reason of a decision.
    source: String,
    /// The key of the role, which need not exist (yet).
    role: String,
}

/// By the subject's name, so that a decision looks up by a borrowed one.
#[derive(Default)]
struct Grants {
    users: HashMap<String, Vec<Arc<Grant>>>,
    groups: HashMap<String, Vec<Arc<Grant>>>,
}

impl Grants {
    fn add(&mut self, subject: &SubjectKey, grant: Arc<Grant>) {
        let (grants, name) = self.of(subject);
        grants.entry(name.to_owned()).or_default().push(grant);
    }

    fn remove(&mut self, subject: &SubjectKey, grant: &Arc<Grant>) {
        let (grants, name) = self.of(subject);
        if let Some(list) = grants.get_mut(name) {
            list.retain(|other| !Arc::ptr_eq(other, grant));
            if list.is_empty() {
                grants.remove(name);
            }
        }
    }

    fn of<'s>(&mut self, subject: &'s SubjectKey) -> (&mut HashMap<String, Vec<Arc<Grant>>>, &'s str) {
        match subject {
            SubjectKey::User(name) => (&mut self.users, name),
            SubjectKey::Group(name) => (&mut self.groups, name),
        }
    }

    fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }
}

/// Keys are the store's, without [`PREFIX`].
#[derive(Default)]
struct Index {
    roles: HashMap<String, Vec<Rule>>,
    /// What each binding gave, to be taken back when it changes.
    bindings: HashMap<String, (Arc<Grant>, Vec<SubjectKey>)>,
    everywhere: Grants,
    by_namespace: HashMap<String, Grants>,
}

impl Index {
    fn build<'a>(objects: impl Iterator<Item = (&'a str, &'a Object)>) -> Self {
        let mut index = Self::default();
        for (key, object) in objects {
            index.set(key, Some(object));
        }
        index
    }

    /// Takes in the present state of one key of the store.
    fn set(&mut self, key: &str, object: Option<&Object>) {
        let Some(key) = key.strip_prefix(PREFIX) else { return };
        let Some((resource, name)) = key.split_once('/') else { return };
        match resource {
            "clusterroles" | "roles" => match object {
                Some(object) => {
                    self.roles.insert(key.to_owned(), object.decode::<Role>().unwrap_or_default().rules);
                }
                None => {
                    self.roles.remove(key);
                }
            },
            "clusterrolebindings" => self.bind("ClusterRoleBinding", key, "", object),
            "rolebindings" => {
                let namespace = name.split('/').next().unwrap_or_default();
                self.bind("RoleBinding", key, namespace, object);
            }
            _ => {}
        }
    }

    fn bind(&mut self, kind: &str, key: &str, namespace: &str, object: Option<&Object>) {
        let grants = match namespace {
            "" => &mut self.everywhere,
            namespace => self.by_namespace.entry(namespace.to_owned()).or_default(),
        };
        if let Some((old, subjects)) = self.bindings.remove(key) {
            for subject in subjects {
                grants.remove(&subject, &old);
            }
        }
        if let Some(object) = object {
            let Binding { subjects, role_ref } = object.decode().unwrap_or_default();
            let role = match role_ref.kind.as_str() {
                "ClusterRole" => format!("clusterroles/{}", role_ref.name),
                _ => format!("roles/{namespace}/{}", role_ref.name),
            };
            let source = format!("{kind} \"{}\" of {} \"{}\"", object.head().object_ref(), role_ref.kind, role_ref.name);
            let grant = Arc::new(Grant { source, role });
            let subjects: Vec<SubjectKey> = subjects.iter().map(|subject| subject.key(namespace)).collect();
            for subject in &subjects {
                grants.add(subject, grant.clone());
            }
            self.bindings.insert(key.to_owned(), (grant, subjects));
        }
        if !namespace.is_empty() && self.by_namespace.get(namespace).is_some_and(Grants::is_empty) {
            self.by_namespace.remove(namespace);
        }
    }

    /// A role that does not exist gives nothing.
    fn rules(&self, grant: &Grant) -> &[Rule] {
        self.roles.get(&grant.role).map(Vec::as_slice).unwrap_or_default()
    }

    fn grants<'a>(&'a self, user: &'a Identity, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let local = self.by_namespace.get(namespace).filter(|_| !namespace.is_empty());
        std::iter::once(&self.everywhere).chain(local).flat_map(move |grants| {
            let own = grants.users.get(&user.username);
            let groups = user.groups.iter().filter_map(|group| grants.groups.get(group));
            own.into_iter().chain(groups).flatten().map(AsRef::as_ref)
        })
    }
}

/// The authorizer over a store's RBAC objects.
pub struct Rbac {
    index: RwLock<Index>,
    store: Arc<dyn Store>,
}

impl Rbac {
    /// Reads what is there, then follows changes until `cancel`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(store: Arc<dyn Store>, cancel: CancellationToken) -> Result<Arc<Self>, StoreError> {
        let rbac = Arc::new(Self { index: RwLock::default(), store });
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

    /// Reads everything anew.
    fn rebuild(&self) -> Result<u64, StoreError> {
        let range = self.store.range(PREFIX, &RangeOptions::default())?;
        let index = Index::build(range.items.iter().map(|(key, object)| (&**key, &**object)));
        *self.index.write() = index;
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
            let changes = watch.next().await?;
            let mut index = self.index.write();
            for change in changes.iter() {
                index.set(&change.key, change.object.as_deref());
                *from = (*from).max(change.revision);
            }
        }
    }

    /// Every rule that applies to `user` in `namespace`, for SelfSubjectRulesReview.
    pub fn rules(&self, user: &Identity, namespace: &str) -> Vec<Rule> {
        let index = self.index.read();
        index.grants(user, namespace).flat_map(|grant| index.rules(grant).iter().cloned()).collect()
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
        let index = self.index.read();
        let granted = index.grants(user, namespace).find(|grant| index.rules(grant).iter().any(|rule| rule.allows(action)));
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
                "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "ci"}, {"kind": "ServiceAccount", "name": "own"}],
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
        allowed_in(&world(), user, action, namespace)
    }

    fn allowed_in(index: &Index, user: &Identity, action: &Action<'_>, namespace: &str) -> bool {
        index.grants(user, namespace).any(|grant| index.rules(grant).iter().any(|rule| rule.allows(action)))
    }

    #[test]
    fn a_change_of_one_object_takes_back_what_it_gave() {
        let mut index = world();
        let dev = Identity::component("eve", &["devs"]);
        let may = |index: &Index, verb: &str| allowed_in(index, &dev, &resource(verb, "pods", "any", "x"), "any");
        assert!(may(&index, "get"));
        let role = |verb: &str| {
            object(&json!({"metadata": {"name": "view"}, "rules": [
                {"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]}))
        };
        index.set(&format!("{PREFIX}clusterroles/view"), Some(&role("watch")));
        assert!(may(&index, "watch") && !may(&index, "get"));
        index.set(&format!("{PREFIX}clusterroles/view"), None);
        assert!(!may(&index, "watch"));
        index.set(&format!("{PREFIX}clusterroles/view"), Some(&role("get")));
        assert!(may(&index, "get"));
        let binding = json!({"metadata": {"name": "viewers"}, "subjects": [{"kind": "Group", "name": "others"}],
            "roleRef": {"kind": "ClusterRole", "name": "view"}});
        index.set(&format!("{PREFIX}clusterrolebindings/viewers"), Some(&object(&binding)));
        assert!(!may(&index, "get"));
        index.set(&format!("{PREFIX}rolebindings/dev/robot"), None);
        assert!(index.by_namespace.is_empty());
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
        // An account without a namespace is of the binding's.
        assert!(allowed(&Identity::component("system:serviceaccount:dev:own", &[]), &resource("update", "secrets", "dev", "a")));
        assert!(!allowed(&Identity::component("system:serviceaccount:ci:own", &[]), &resource("update", "secrets", "dev", "a")));
    }
}
