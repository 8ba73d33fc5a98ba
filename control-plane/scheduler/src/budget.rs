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
            // As in Kubernetes, no selector is nobody's budget, and an empty one everybody's.
            selector: match selector {
                None => LabelSelector::nothing(),
                some => LabelSelector::from_document(some).unwrap_or_else(|_| LabelSelector::nothing()),
            },
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
