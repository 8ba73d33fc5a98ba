//! Roles and their bindings.

use super::builder::resource;
use crate::descriptor::{ResourceDescriptor, Scope, Strategy};
use crate::validate::NameRule;

const GROUP: &str = "rbac.authorization.k8s.io";

struct Role;
struct Binding;

pub(super) fn role() -> ResourceDescriptor {
    resource(GROUP, "Role", "roles", Scope::Namespaced, Role)
}

pub(super) fn cluster_role() -> ResourceDescriptor {
    resource(GROUP, "ClusterRole", "clusterroles", Scope::Cluster, Role)
}

pub(super) fn role_binding() -> ResourceDescriptor {
    resource(GROUP, "RoleBinding", "rolebindings", Scope::Namespaced, Binding)
}

pub(super) fn cluster_role_binding() -> ResourceDescriptor {
    resource(GROUP, "ClusterRoleBinding", "clusterrolebindings", Scope::Cluster, Binding)
}

impl Strategy for Role {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }
}

impl Strategy for Binding {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }
}
