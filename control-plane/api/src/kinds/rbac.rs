//! Roles and their bindings.

use serde_json::Value;

use super::builder::resource;
use super::value::{child, fill, list, list_mut, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{
    NameRule, Path, complaints, dns1123_subdomain, invalid, not_supported, path_segment, required, validate_label_selector,
};

const GROUP: &str = "rbac.authorization.k8s.io";

struct Role {
    scope: Scope,
}

struct Binding {
    scope: Scope,
}

pub(super) fn role() -> ResourceDescriptor {
    resource(GROUP, "Role", "roles", Scope::Namespaced, Role { scope: Scope::Namespaced })
}

pub(super) fn cluster_role() -> ResourceDescriptor {
    resource(GROUP, "ClusterRole", "clusterroles", Scope::Cluster, Role { scope: Scope::Cluster })
}

pub(super) fn role_binding() -> ResourceDescriptor {
    resource(GROUP, "RoleBinding", "rolebindings", Scope::Namespaced, Binding { scope: Scope::Namespaced })
}

pub(super) fn cluster_role_binding() -> ResourceDescriptor {
    resource(GROUP, "ClusterRoleBinding", "clusterrolebindings", Scope::Cluster, Binding { scope: Scope::Cluster })
}

const ROLE_COLUMNS: &[Column] = &[Column::date("Created At", "When the role was created.")];

const BINDING_COLUMNS: &[Column] = &[
    Column::text("Role", "The role that is given."),
    Column::AGE,
    Column::wide("Users", "The users who get the role."),
    Column::wide("Groups", "The groups that get the role."),
    Column::wide("ServiceAccounts", "The service accounts that get the role."),
];

impl Strategy for Role {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let rules = Path::root("rules");
        for (index, rule) in list(object, "/rules").iter().enumerate() {
            let at = rules.index(index);
            let is_empty = |field: &str| list(rule, field).is_empty();
            if is_empty("/verbs") {
                causes.push(required(at.field("verbs"), "verbs must contain at least one value"));
            }
            if !is_empty("/nonResourceURLs") {
                let urls = rule.get("nonResourceURLs").unwrap_or(&Value::Null);
                if self.scope == Scope::Namespaced {
                    let why = "namespaced rules cannot apply to non-resource URLs";
                    causes.push(invalid(at.field("nonResourceURLs"), urls, why));
                }
                if ["/apiGroups", "/resources", "/resourceNames"].into_iter().any(|field| !is_empty(field)) {
                    let why = "rules cannot apply to both regular resources and non-resource URLs";
                    causes.push(invalid(at.field("nonResourceURLs"), urls, why));
                }
                continue;
            }
            if is_empty("/apiGroups") {
                causes.push(required(at.field("apiGroups"), "resource rules must supply at least one api group"));
            }
            if is_empty("/resources") {
                causes.push(required(at.field("resources"), "resource rules must supply at least one resource"));
            }
        }
        if object.get("aggregationRule").is_some_and(Value::is_object) {
            let rule = Path::root("aggregationRule");
            let at = rule.field("clusterRoleSelectors");
            let selectors = list(object, "/aggregationRule/clusterRoleSelectors");
            if selectors.is_empty() {
                let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
                causes.push(required(at, why));
            }
            for (index, selector) in selectors.iter().enumerate() {
                causes.extend(validate_label_selector(Some(selector), &at.index(index)));
            }
        }
        causes
    }

    fn is_new_generation(&self, _object: &Value, _old: &Value) -> bool {
        false
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn columns(&self) -> &'static [Column] {
        ROLE_COLUMNS
    }

    fn cells(&self, object: &Value, _context: Context) -> Vec<Value> {
        vec![text(object, "/metadata/creationTimestamp").into()]
    }
}

impl Strategy for Binding {
    fn default(&self, object: &mut Value) {
        if let Some(role) = child(object, "roleRef") {
            fill(role, "apiGroup", GROUP);
        }
        for subject in list_mut(object, "/subjects") {
            if matches!(text(subject, "/kind"), "User" | "Group") {
                fill(subject, "apiGroup", GROUP);
            }
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let role = Path::root("roleRef");
        if text(object, "/roleRef/apiGroup") != GROUP {
            causes.push(not_supported(role.field("apiGroup"), text(object, "/roleRef/apiGroup"), &[GROUP]));
        }
        let kinds: &[&str] = match self.scope {
            Scope::Cluster => &["ClusterRole"],
            Scope::Namespaced => &["ClusterRole", "Role"],
        };
        if !kinds.contains(&text(object, "/roleRef/kind")) {
            causes.push(not_supported(role.field("kind"), text(object, "/roleRef/kind"), kinds));
        }
        match text(object, "/roleRef/name") {
            "" => causes.push(required(role.field("name"), "")),
            name => causes.extend(complaints(role.field("name"), name, path_segment(name))),
        }
        let subjects = Path::root("subjects");
        for (index, subject) in list(object, "/subjects").iter().enumerate() {
            check_subject(subject, self.scope, &subjects.index(index), &mut causes);
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let (new, before) = (object.get("roleRef"), old.get("roleRef"));
        let changed = (new != before).then(|| invalid("roleRef", new.unwrap_or(&Value::Null), "cannot change roleRef"));
        changed.into_iter().collect()
    }

    fn is_new_generation(&self, _object: &Value, _old: &Value) -> bool {
        false
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn columns(&self) -> &'static [Column] {
        BINDING_COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let subjects = |kind: &str| {
            let of_kind = list(object, "/subjects").iter().filter(|subject| text(subject, "/kind") == kind);
            let names = of_kind.map(|subject| match (kind, text(subject, "/namespace")) {
                ("ServiceAccount", namespace) => format!("{namespace}/{}", text(subject, "/name")),
                _ => text(subject, "/name").to_owned(),
            });
            names.collect::<Vec<_>>().join(", ")
        };
        vec![
            format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name")).into(),
            age(object, context.now).into(),
            subjects("User").into(),
            subjects("Group").into(),
            subjects("ServiceAccount").into(),
        ]
    }
}

fn check_subject(subject: &Value, scope: Scope, at: &Path, causes: &mut Vec<Cause>) {
    let name = text(subject, "/name");
    if name.is_empty() {
        causes.push(required(at.field("name"), ""));
    }
    let group = text(subject, "/apiGroup");
    match text(subject, "/kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                causes.extend(complaints(at.field("name"), name, dns1123_subdomain(name)));
            }
            if !group.is_empty() {
                causes.push(not_supported(at.field("apiGroup"), group, &[""]));
            }
            // Without one it is an account of the binding's own namespace.
            if scope == Scope::Cluster && text(subject, "/namespace").is_empty() {
                causes.push(required(at.field("namespace"), ""));
            }
        }
        "User" | "Group" if group != GROUP => causes.push(not_supported(at.field("apiGroup"), group, &[GROUP])),
        "User" | "Group" => {}
        kind => causes.push(not_supported(at.field("kind"), kind, &["Group", "ServiceAccount", "User"])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(causes: &[Cause]) -> Vec<&str> {
        causes.iter().map(|cause| cause.field.as_str()).collect()
    }

    #[test]
    fn rules_name_resources_or_urls() {
        let object = json!({"rules": [
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, {"apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["get"]}, {"verbs": ["get"], "nonResourceURLs": ["/x"]},
        ]});
        let common = ["rules[1].verbs", "rules[2].apiGroups", "rules[2].resources"];
        assert_eq!(fields(&Role { scope: Scope::Cluster }.validate(&object)), common);
        assert_eq!(fields(&Role { scope: Scope::Namespaced }.validate(&object)).last(), Some(&"rules[3].nonResourceURLs"));
    }

    #[test]
    fn a_binding_gets_its_groups_and_its_role_stays() {
        let binding = Binding { scope: Scope::Namespaced };
        let mut object = json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "sa", "namespace": "ns"}, {"kind": "Group", "name": "g"}]});
        binding.default(&mut object);
        assert_eq!(object["roleRef"]["apiGroup"], GROUP);
        assert_eq!(binding.validate(&object), []);
        let now = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
        assert_eq!(binding.cells(&object, Context { now }), ["Role/r", "<unknown>", "jane", "g", "ns/sa"].map(Value::from));
        let mut other = object.clone();
        other["roleRef"]["name"] = json!("s");
        assert!(binding.validate_update(&other, &object)[0].message.ends_with("cannot change roleRef"));
        assert_eq!(fields(&Binding { scope: Scope::Cluster }.validate(&object)), ["roleRef.kind"]);
    }

    #[test]
    fn an_aggregated_role_says_of_what() {
        let role = Role { scope: Scope::Cluster };
        let fields = |rule: Value| -> Vec<String> {
            role.validate(&json!({"aggregationRule": rule})).into_iter().map(|cause| cause.field).collect()
        };
        assert_eq!(fields(json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]})), [""; 0]);
        assert_eq!(fields(json!({})), ["aggregationRule.clusterRoleSelectors"]);
        let odd = json!({"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]});
        assert_eq!(fields(odd), ["aggregationRule.clusterRoleSelectors[0].matchExpressions[0].values"]);
    }

    #[test]
    fn wrong_subjects_are_named() {
        let object = json!({"roleRef": {"apiGroup": GROUP, "kind": "Role", "name": "r"}, "subjects": [
            {"kind": "Robot", "name": "x"}, {"kind": "ServiceAccount", "name": "sa"}, {"kind": "User", "apiGroup": GROUP}]});
        let causes = Binding { scope: Scope::Namespaced }.validate(&object);
        assert_eq!(fields(&causes), ["subjects[0].kind", "subjects[2].name"]);
        let causes = Binding { scope: Scope::Cluster }.validate(&object);
        assert_eq!(fields(&causes), ["roleRef.kind", "subjects[0].kind", "subjects[1].namespace", "subjects[2].name"]);
    }
}
