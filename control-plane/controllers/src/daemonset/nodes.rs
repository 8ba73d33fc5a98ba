//! Which nodes are to have a pod of a template. Pure.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};
use mizzen_api::selector::{LabelSelector, takes_node};
use serde_json::{Value, json};

use crate::node::tolerates;

/// Taints that no daemon minds, with their effects: it is there to mend the node.
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// One more for daemons that use the node's own network.
const WITHOUT_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// What a node is to a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is to have a pod.
    Run,
    /// It gets no pod, and keeps the one it has.
    Keep,
    Not,
}

/// What a template asks of its nodes.
pub(super) struct Demands<'a> {
    name: &'a str,
    selector: LabelSelector,
    /// Any of these is enough; none is asked for when there is no affinity.
    terms: Option<&'a [Value]>,
    tolerations: Vec<Toleration>,
}

impl<'a> Demands<'a> {
    pub(super) fn of(template: &'a Value) -> Self {
        let spec = template.get("spec").unwrap_or(&Value::Null);
        let terms = spec.pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
        Self {
            name: spec.get("nodeName").and_then(Value::as_str).unwrap_or_default(),
            selector: LabelSelector::from_match_labels(spec.get("nodeSelector")).unwrap_or_else(|_| LabelSelector::nothing()),
            terms: terms.and_then(Value::as_array).map(Vec::as_slice),
            tolerations: tolerations(template).into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect(),
        }
    }

    pub(super) fn fit(&self, node: &Node) -> Fit {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let empty = std::collections::BTreeMap::new();
        let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
        let wanted = (self.name.is_empty() || self.name == name)
            && self.selector.matches(labels)
            && self.terms.is_none_or(|terms| takes_node(terms, name, labels));
        if !wanted {
            return Fit::Not;
        }
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        let repels = |taint: &&Taint| !self.tolerations.iter().any(|toleration| tolerates(toleration, taint));
        let repelled = |effect: &str| taints.iter().filter(|taint| taint.effect == effect).any(|taint| repels(&taint));
        match (repelled("NoExecute"), repelled("NoSchedule")) {
            (true, _) => Fit::Not,
            (false, true) => Fit::Keep,
            (false, false) => Fit::Run,
        }
    }
}

/// The template's tolerations and those of every daemon.
pub(super) fn tolerations(template: &Value) -> Vec<Value> {
    let mut all = template.pointer("/spec/tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    let host_network = template.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    for (key, effect) in TOLERATED.iter().chain(host_network.then_some(&WITHOUT_NETWORK)) {
        let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(labels: Value, taints: Value) -> Node {
        let document = json!({"metadata": {"name": "n1", "labels": labels}, "spec": {"taints": taints}});
        serde_json::from_value(document).expect("a node")
    }

    #[test]
    fn a_node_gets_a_pod_by_selector_affinity_and_taints() {
        let plain = json!({"spec": {}});
        let ssd = json!({"spec": {"nodeSelector": {"disk": "ssd"}}});
        let elsewhere = json!({"spec": {"nodeName": "n2"}});
        let affinity = |value: &str| {
            let terms = json!([{"matchExpressions": [{"key": "disk", "operator": "In", "values": [value]}]},
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n3"]}]}]);
            json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": terms}}}}})
        };
        let bare = node(json!({"disk": "ssd"}), json!([]));
        for (template, fit) in [
            (&plain, Fit::Run),
            (&ssd, Fit::Run),
            (&elsewhere, Fit::Not),
            (&affinity("ssd"), Fit::Run),
            (&affinity("hdd"), Fit::Not),
        ] {
            assert_eq!(Demands::of(template).fit(&bare), fit, "{template}");
        }
        assert_eq!(Demands::of(&ssd).fit(&node(json!({}), json!([]))), Fit::Not);
        for (key, effect, fit) in [
            ("node.kubernetes.io/unschedulable", "NoSchedule", Fit::Run),
            ("node.kubernetes.io/not-ready", "NoExecute", Fit::Run),
            ("node.kubernetes.io/network-unavailable", "NoSchedule", Fit::Keep),
            ("mine", "NoSchedule", Fit::Keep),
            ("mine", "NoExecute", Fit::Not),
            ("mine", "PreferNoSchedule", Fit::Run),
        ] {
            let tainted = node(json!({}), json!([{"key": key, "effect": effect}]));
            assert_eq!(Demands::of(&plain).fit(&tainted), fit, "{key} {effect}");
        }
    }
}
