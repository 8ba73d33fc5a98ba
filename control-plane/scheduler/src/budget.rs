//! A disruption budget as preemption sees it.

use std::collections::HashSet;
use std::sync::Arc;

use mizzen_api::Object;
use mizzen_api::selector::LabelSelector;

use crate::pod::PodInfo;

/// A PodDisruptionBudget: how many of its pods may go now.
#[derive(Clone, Debug)]
pub struct Budget {
    pub namespace: String,
    pub selector: LabelSelector,
    /// `status.disruptionsAllowed`.
    pub allowed: i64,
    /// Names of pods that are being evicted already, and are counted.
    pub disrupted: HashSet<String>,
}

impl Budget {
    /// `None` when the document is no budget, which the API never stores.
    pub fn of(object: &Arc<Object>) -> Option<Self> {
        let document = object.value().ok()?;
        let selector = document.pointer("/spec/selector");
        Some(Self {
            namespace: object.head().namespace.clone(),
            // As in Kubernetes' preemption, a budget without selector or with an empty one is nobody's.
            selector: LabelSelector::from_document(selector)
                .ok()
                .filter(|selector| !selector.is_everything())
                .unwrap_or_else(LabelSelector::nothing),
            allowed: document.pointer("/status/disruptionsAllowed").and_then(serde_json::Value::as_i64).unwrap_or(0),
            disrupted: document
                .pointer("/status/disruptedPods")
                .and_then(serde_json::Value::as_object)
                .into_iter()
                .flat_map(|pods| pods.keys().cloned())
                .collect(),
        })
    }

    /// Whether evicting the pod takes of the budget.
    pub fn counts(&self, pod: &PodInfo) -> bool {
        pod.key.namespace == self.namespace && !self.disrupted.contains(&pod.key.name) && self.selector.matches(&pod.labels)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mizzen_api::ObjectRef;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_budget_speaks_for_the_pods_of_its_namespace_that_its_selector_names() {
        let budget = |spec: Value| {
            let document = json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"namespace": "d", "name": "b"}, "spec": spec,
            });
            Budget::of(&Arc::new(Object::new(document.to_string(), 1))).expect("is a budget")
        };
        let labels = Arc::new(BTreeMap::from([("app".to_owned(), "db".to_owned())]));
        let pod = |namespace: &str| PodInfo {
            key: ObjectRef::new(namespace, "a").into(),
            labels: labels.clone(),
            ..PodInfo::default()
        };
        let named = budget(json!({"selector": {"matchLabels": {"app": "db"}}}));
        assert!(named.counts(&pod("d")) && !named.counts(&pod("other")));
        for nobodys in [json!({}), json!({"selector": {}}), json!({"selector": {"matchLabels": {}, "matchExpressions": []}})] {
            assert!(!budget(nobodys.clone()).counts(&pod("d")), "{nobodys}");
        }
    }
}
