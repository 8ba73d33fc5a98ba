//! Nobody grants through roles and bindings what they may not do themselves ("Privilege escalation prevention" in the
//! RBAC documents), unless they may `escalate` the role or `bind` it.

use async_trait::async_trait;
use mizzen_api::{GroupResource, Status};
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::auth::{Action, Decision};

pub(super) struct RbacEscalation;

const GROUP: &str = "rbac.authorization.k8s.io";

#[async_trait]
impl Plugin for RbacEscalation {
    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(object) = object.filter(|_| attributes.group() == GROUP && attributes.operation != Operation::Delete) else {
            return Ok(());
        };
        let unchanged = |field: &str| attributes.old.is_some_and(|old| old.get(field) == object.get(field));
        match attributes.resource() {
            "roles" | "clusterroles" => {
                if (unchanged("rules") && unchanged("aggregationRule"))
                    || may(attributes, "escalate", attributes.resource(), attributes.name())
                {
                    return Ok(());
                }
                if object.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
                    // What an aggregated role will hold is not known yet: only who may do everything may make one.
                    check(attributes, &everything())?;
                }
                check(attributes, object)
            }
            "rolebindings" | "clusterrolebindings" => {
                if unchanged("roleRef") && unchanged("subjects") {
                    return Ok(());
                }
                let field = |name: &str| object.pointer(&format!("/roleRef/{name}")).and_then(Value::as_str).unwrap_or_default();
                let (resource, namespace) = match field("kind") {
                    "Role" => ("roles", attributes.namespace()),
                    _ => ("clusterroles", ""),
                };
                let name = field("name");
                if may(attributes, "bind", resource, name) {
                    return Ok(());
                }
                let role = attributes
                    .registry
                    .by_group_resource(GROUP, resource)
                    .and_then(|descriptor| attributes.store.get(&descriptor.key(namespace, name)))
                    .ok_or_else(|| Status::not_found(&GroupResource::new(GROUP, resource), name))?;
                let role = role.value().map_err(|error| Status::internal(format!("decode {role:?}: {error}")))?;
                check(attributes, &role)
            }
            _ => Ok(()),
        }
    }
}

/// A role with all rules there are.
fn everything() -> Value {
    serde_json::json!({"rules": [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]})
}

fn may(attributes: &Attributes<'_>, verb: &str, resource: &str, name: &str) -> bool {
    let namespace = attributes.namespace();
    allowed(attributes, &Action::Resource { verb, group: GROUP, resource, subresource: "", namespace, name })
}

fn allowed(attributes: &Attributes<'_>, action: &Action<'_>) -> bool {
    matches!(attributes.authorizer.authorize(attributes.identity, action), Decision::Allow { .. })
}

/// Every rule of `role`, taken apart into single actions, must be one that the user may do in the same namespace.
fn check(attributes: &Attributes<'_>, role: &Value) -> Result<(), Status> {
    let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
    let missing: Vec<String> = rules.filter(|rule| !covers(attributes, rule)).map(Value::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let user = attributes.identity;
    Err(attributes.forbid(&format!(
        "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.username,
        user.groups,
        missing.join("\n")
    )))
}

fn covers(attributes: &Attributes<'_>, rule: &Value) -> bool {
    let list = |name: &str| -> Vec<&str> {
        rule.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (verbs, groups, resources, mut names) = (list("verbs"), list("apiGroups"), list("resources"), list("resourceNames"));
    if names.is_empty() {
        names.push("");
    }
    let namespace = attributes.namespace();
    let paths = list("nonResourceURLs");
    verbs.iter().all(|verb| {
        let may_paths = paths.iter().all(|path| allowed(attributes, &Action::Path { verb, path }));
        may_paths
            && groups.iter().all(|group| {
                resources.iter().all(|resource| {
                    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                    names.iter().all(|name| {
                        allowed(attributes, &Action::Resource { verb, group, resource, subresource, namespace, name })
                    })
                })
            })
    })
}
