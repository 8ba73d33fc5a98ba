//! What a new cluster holds from the start: its namespaces, priority classes, roles and bindings. Missing objects are put
//! back at every start; roles annotated for automatic updates also get back rules that they lack.

mod controllers;
mod roles;

use mizzen_api::{GroupVersionResource, Reason, Status};
use mizzen_client::{ApiRequest, Client};
use serde_json::{Value, json};

use super::certificates::NODE_GROUP;
use super::rbac::Rule;

const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

const PRIORITY_CLASSES: &[(&str, i64, &str)] = &[
    ("system-cluster-critical", 2_000_000_000, "For pods that the cluster needs and that may run on any node."),
    ("system-node-critical", 2_000_001_000, "For pods that the node needs that they run on."),
];

const NODE_ROLE: &str = "system:node";

/// The signers of certificates that every cluster has.
const SIGNERS: &[&str] = &[
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/legacy-unknown",
];

/// `verbs` and `resources` are separated by spaces; `""` is the core group, written `core`.
fn rule(verbs: &str, groups: &str, resources: &str) -> Value {
    let groups: Vec<&str> = groups.split(' ').map(|group| if group == "core" { "" } else { group }).collect();
    json!({"verbs": words(verbs), "apiGroups": groups, "resources": words(resources)})
}

/// The rule for objects of these names only.
fn named(mut rule: Value, names: &[&str]) -> Value {
    rule["resourceNames"] = json!(names);
    rule
}

fn urls(verbs: &str, urls: &str) -> Value {
    json!({"verbs": words(verbs), "nonResourceURLs": words(urls)})
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn cluster_role(name: &str, rules: Vec<Value>) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata(name), "rules": rules})
}

fn cluster_binding(name: &str, role: &str, subjects: Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata(name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}, "subjects": subjects})
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}, "annotations": {AUTO_UPDATE: "true"}})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

/// What all nodes may do, whichever pods run on them.
pub(super) fn node_rules() -> Vec<Rule> {
    roles::node().into_iter().filter_map(|rule| serde_json::from_value(rule).ok()).collect()
}

/// Puts everything in place that is missing, as `client` (a member of `system:masters`).
///
/// # Errors
/// The first write that fails for another reason than that the object is there.
pub async fn ensure(client: &dyn Client) -> Result<(), Status> {
    let namespaces = GroupVersionResource::new("", "v1", "namespaces");
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        create(client, &namespaces, namespace).await?;
    }
    let classes = GroupVersionResource::new("scheduling.k8s.io", "v1", "priorityclasses");
    for (name, value, description) in PRIORITY_CLASSES {
        let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description});
        create(client, &classes, class).await?;
    }
    let roles = GroupVersionResource::new("rbac.authorization.k8s.io", "v1", "clusterroles");
    for role in roles::roles().into_iter().chain(controllers::roles()) {
        ensure_role(client, &roles, role).await?;
    }
    let bindings = GroupVersionResource::new("rbac.authorization.k8s.io", "v1", "clusterrolebindings");
    for binding in roles::bindings().into_iter().chain(controllers::bindings()) {
        create(client, &bindings, binding).await?;
    }
    let [roles, own_bindings] =
        ["roles", "rolebindings"].map(|resource| GroupVersionResource::new("rbac.authorization.k8s.io", "v1", resource));
    for (role, binding) in controllers::namespaced() {
        create(client, &roles, role).await?;
        create(client, &own_bindings, binding).await?;
    }
    take_back_from_nodes(client, &bindings).await
}

/// Older clusters gave every node the rights that the node authorizer now gives to each for its own pods.
async fn take_back_from_nodes(client: &dyn Client, bindings: &GroupVersionResource) -> Result<(), Status> {
    let mut binding = match client.get(bindings, "", NODE_ROLE).await {
        Ok(present) => present.value().map_err(Status::internal)?,
        Err(status) if status.is(Reason::NotFound) => return Ok(()),
        Err(status) => return Err(status),
    };
    let ours = binding["metadata"]["annotations"][AUTO_UPDATE] == "true";
    if !ours || binding["subjects"] != json!([group(NODE_GROUP)]) {
        return Ok(());
    }
    if let Some(binding) = binding.as_object_mut() {
        binding.remove("subjects");
    }
    client.write(ApiRequest::update(bindings, "", NODE_ROLE, binding).manager("mizzen-bootstrap")).await.map(|_| ())
}

async fn create(client: &dyn Client, resource: &GroupVersionResource, object: Value) -> Result<(), Status> {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    match client.get(resource, &namespace, &name).await {
        Ok(_) => return Ok(()),
        Err(status) if status.is(Reason::NotFound) => {}
        Err(status) => return Err(status),
    }
    match client.write(ApiRequest::create(resource, &namespace, object).manager("mizzen-bootstrap")).await {
        Err(status) if !status.is(Reason::AlreadyExists) => Err(status),
        _ => Ok(()),
    }
}

async fn ensure_role(client: &dyn Client, resource: &GroupVersionResource, role: Value) -> Result<(), Status> {
    let name = role["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let present = match client.get(resource, "", &name).await {
        Ok(present) => present.value().map_err(Status::internal)?,
        Err(status) if status.is(Reason::NotFound) => return create(client, resource, role).await,
        Err(status) => return Err(status),
    };
    let auto_update = present["metadata"]["annotations"][AUTO_UPDATE] != "false";
    match with_what_is_missing(&present, &role) {
        Some(updated) if auto_update => {
            client.write(ApiRequest::update(resource, "", &name, updated).manager("mizzen-bootstrap")).await.map(|_| ())
        }
        _ => Ok(()),
    }
}

/// The role with the labels, rules or selectors of other roles that it lacks; `None` when it lacks none.
fn with_what_is_missing(present: &Value, wanted: &Value) -> Option<Value> {
    let mut updated = present.clone();
    for (key, value) in wanted["metadata"]["labels"].as_object().into_iter().flatten() {
        updated["metadata"]["labels"][key] = value.clone();
    }
    for list in ["/rules", "/aggregationRule/clusterRoleSelectors"] {
        let entries = |role: &Value| role.pointer(list).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut has = entries(present);
        let missing: Vec<Value> = entries(wanted).into_iter().filter(|entry| !has.contains(entry)).collect();
        if missing.is_empty() {
            continue;
        }
        has.extend(missing);
        match list {
            "/rules" => updated["rules"] = json!(has),
            _ => updated["aggregationRule"] = json!({"clusterRoleSelectors": has}),
        }
    }
    (updated != *present).then_some(updated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_lost_a_rule_gets_it_back_and_keeps_its_own() {
        let wanted = cluster_role("r", vec![rule("get", "core", "pods"), rule("list", "core", "nodes")]);
        let own = cluster_role("r", vec![rule("list", "core", "nodes"), rule("*", "mine", "*")]);
        let rules = with_what_is_missing(&own, &wanted).expect("changes")["rules"].clone();
        assert_eq!(rules.as_array().map(Vec::len), Some(3));
        assert_eq!(with_what_is_missing(&wanted, &wanted), None);
    }

    #[test]
    fn a_role_that_came_to_gather_from_others_keeps_what_it_has() {
        let old = cluster_role("view", vec![rule("get", "core", "pods")]);
        let wanted = roles::roles().into_iter().find(|role| role["metadata"]["name"] == "view").expect("is there");
        let updated = with_what_is_missing(&old, &wanted).expect("changes");
        assert_eq!((&updated["rules"], &updated["aggregationRule"]), (&old["rules"], &wanted["aggregationRule"]));
        assert_eq!(updated["metadata"]["labels"], wanted["metadata"]["labels"]);
        assert_eq!(with_what_is_missing(&updated, &wanted), None);
    }
}
