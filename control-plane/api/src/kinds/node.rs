//! `Node`.

use serde_json::Value;

use super::builder::{Describe, resource};
use super::pod_template::check_taints;
use super::value::{entries, flag, list, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::{age, or_none};
use crate::status::Cause;
use crate::validate::{Path, cidr, complaints, forbidden, invalid};

struct Node;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("", "Node", "nodes", Scope::Cluster, Node).short("no").proxy("NodeProxyOptions").status()
}

const COLUMNS: &[Column] = &[
    Column::text("Status", "Whether the node is ready for pods."),
    Column::text("Roles", "The roles that the node is labelled with."),
    Column::AGE,
    Column::text("Version", "The version of the node's agent."),
    Column::wide("Internal-IP", "The node's address inside the cluster."),
    Column::wide("External-IP", "The node's address outside the cluster."),
    Column::wide("OS-Image", "The operating system."),
    Column::wide("Kernel-Version", "The version of the kernel."),
    Column::wide("Container-Runtime", "The container runtime and its version."),
];

impl Strategy for Node {
    fn has_generation(&self, _object: &Value) -> bool {
        false
    }

    /// An agent registers itself with its status.
    fn prepare_create(&self, _object: &mut Value) {}

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let spec = Path::root("spec");
        check_taints(list(object, "/spec/taints"), &spec.field("taints"), &mut causes);
        check_ranges(object, &spec.field("podCIDRs"), &mut causes);
        let older = text(object, "/spec/podCIDR");
        if !older.is_empty() && list(object, "/spec/podCIDRs").first().is_some_and(|newer| newer != older) {
            let at = spec.field("podCIDR");
            causes.push(invalid(at, &older.into(), "must be the first of `podCIDRs`"));
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let once = |name: &str| format!("node updates may not change {name} except from \"\" to valid");
        let before = list(old, "/spec/podCIDRs");
        if !before.is_empty() && list(object, "/spec/podCIDRs") != before {
            causes.push(forbidden("spec.podCIDRs", &once("podCIDR")));
        }
        let before = text(old, "/spec/providerID");
        if !before.is_empty() && text(object, "/spec/providerID") != before {
            causes.push(forbidden("spec.providerID", &once("providerID")));
        }
        causes
    }

    /// The older field is the first of the newer one.
    fn default(&self, object: &mut Value) {
        let older = text(object, "/spec/podCIDR").to_owned();
        let newer = list(object, "/spec/podCIDRs").first().and_then(Value::as_str).unwrap_or("").to_owned();
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut).filter(|_| older != newer) else { return };
        if older.is_empty() {
            spec.insert("podCIDR".to_owned(), newer.into());
        } else if newer.is_empty() {
            spec.insert("podCIDRs".to_owned(), serde_json::json!([older]));
        }
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        (path == "spec.unschedulable").then(|| flag(object, "/spec/unschedulable").to_string())
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let address = |kind: &str| {
            let found = list(object, "/status/addresses").iter().find(|address| text(address, "/type") == kind);
            found.map_or("", |address| text(address, "/address"))
        };
        let info = |field: &str| text(object, &format!("/status/nodeInfo/{field}")).to_owned();
        let unknown = |text: String| if text.is_empty() { "<unknown>".to_owned() } else { text };
        [
            status(object),
            roles(object),
            age(object, context.now),
            info("kubeletVersion"),
            or_none(address("InternalIP")).to_owned(),
            or_none(address("ExternalIP")).to_owned(),
            unknown(info("osImage")),
            unknown(info("kernelVersion")),
            unknown(info("containerRuntimeVersion")),
        ]
        .into_iter()
        .map(Value::String)
        .collect()
    }
}

/// Addresses for pods: one range of each family.
fn check_ranges(node: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let ranges: Vec<&str> = list(node, "/spec/podCIDRs").iter().filter_map(Value::as_str).collect();
    let wrong = causes.len();
    for (index, range) in ranges.iter().enumerate() {
        causes.extend(complaints(path.index(index), range, cidr(range)));
    }
    let of_v6 = ranges.iter().filter(|range| range.contains(':')).count();
    if causes.len() == wrong && (of_v6 > 1 || ranges.len() - of_v6 > 1) {
        causes.push(invalid(path, &ranges.into(), "may specify no more than one CIDR for each IP family"));
    }
}

fn status(node: &Value) -> String {
    let ready = list(node, "/status/conditions").iter().find(|condition| text(condition, "/type") == "Ready");
    let mut status = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if flag(node, "/spec/unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = entries(node, "/metadata/labels")
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    or_none(&roles.join(",")).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_shows_its_state_and_roles() {
        let node = json!({
            "metadata": {"labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.0"},
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
        });
        let now = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
        let cells = Node.cells(&node, Context { now });
        assert_eq!(cells.len(), COLUMNS.len());
        assert_eq!(cells[..2], [json!("Ready,SchedulingDisabled"), json!("control-plane,worker")]);
        assert_eq!(cells[3..7], [json!("v1.36.0"), json!("10.0.0.1"), json!("<none>"), json!("<unknown>")]);
        assert_eq!(Node.selectable(&node, "spec.unschedulable").as_deref(), Some("true"));
    }

    #[test]
    fn taints_are_checked_and_the_pod_range_stays() {
        let causes = Node.validate(&json!({"spec": {"taints": [{"key": "a", "effect": "No"}, {"key": "b", "effect": "NoSchedule"}, {"key": "b", "effect": "NoSchedule"}]}}));
        assert_eq!(
            causes.iter().map(|cause| cause.field.as_str()).collect::<Vec<_>>(),
            ["spec.taints[0].effect", "spec.taints[2]"]
        );
        let old = json!({"spec": {"podCIDRs": ["10.0.0.0/24"], "providerID": ""}});
        let causes = Node.validate_update(&json!({"spec": {"providerID": "x"}}), &old);
        assert_eq!(causes.iter().map(|cause| cause.field.as_str()).collect::<Vec<_>>(), ["spec.podCIDRs"]);
    }

    #[test]
    fn both_fields_say_the_same_range_for_pods() {
        let defaulted = |spec: Value| {
            let mut node = json!({"spec": spec});
            Node.default(&mut node);
            node["spec"].clone()
        };
        let both = json!({"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24", "fd00::/64"]});
        assert_eq!(defaulted(both.clone()), both);
        assert_eq!(defaulted(json!({"podCIDRs": both["podCIDRs"]})), both);
        assert_eq!(defaulted(json!({"podCIDR": "a"})), json!({"podCIDR": "a", "podCIDRs": ["a"]}));
        let other = json!({"spec": {"podCIDR": "10.0.1.0/24", "podCIDRs": ["10.0.0.0/24"]}});
        assert_eq!(Node.validate(&other)[0].field, "spec.podCIDR");
        assert_eq!(defaulted(json!({})), json!({}));
    }

    #[test]
    fn ranges_for_pods_are_ranges_of_different_families() {
        let told = |ranges: Value| -> Vec<String> {
            Node.validate(&json!({"spec": {"podCIDRs": ranges}})).into_iter().map(|cause| cause.message).collect()
        };
        assert_eq!(told(json!(["10.0.0.0/24", "fd00::/64"])), [""; 0]);
        let not_one = "Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        assert_eq!(told(json!(["10.0.0.0/24", "x"])), [not_one]);
        for ranges in [json!(["10.0.0.0/24", "10.0.1.0/24"]), json!(["10.0.0.0/24", "fd00::/64", "10.0.1.0/24"])] {
            assert!(told(ranges)[0].ends_with("may specify no more than one CIDR for each IP family"));
        }
    }
}
