//! A pod as guests see it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use mizzen_plugins_host::scheduler::{Pod, Toleration};

use super::annotations;
use crate::pod::PodInfo;

/// The pod under the name of its cycle.
pub(super) fn pod(pod: &PodInfo, cycle: u64) -> Pod {
    let pairs = |of: &BTreeMap<String, String>| of.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Pod {
        cycle,
        uid: pod.uid.clone(),
        namespace: pod.key.namespace.clone(),
        name: pod.key.name.clone(),
        labels: pairs(&pod.labels),
        annotations: annotations::of(pod.object.as_deref()).into_iter().collect(),
        priority: pod.priority,
        requests: requests(pod),
        scoring: vec![("cpu".to_owned(), pod.scoring.0), ("memory".to_owned(), pod.scoring.1)],
        node_selector: pairs(&pod.node_selector),
        tolerations: pod.tolerations.iter().map(toleration).collect(),
        affinity: pod.affinity.as_ref().and_then(|affinity| serde_json::to_string(affinity).ok()),
        owner: pod.owner.to_string(),
    }
}

fn requests(pod: &PodInfo) -> Vec<(String, i64)> {
    let usual =
        [("cpu", pod.requests.milli_cpu), ("memory", pod.requests.memory), ("ephemeral-storage", pod.requests.ephemeral_storage)];
    let usual = usual.into_iter().filter(|(_, amount)| *amount != 0).map(|(name, amount)| (name.to_owned(), amount));
    usual.chain(pod.requests.others.iter().map(|(name, amount)| (name.clone(), *amount))).collect()
}

fn toleration(of: &v1::Toleration) -> Toleration {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let operator = of.operator.clone().filter(|operator| !operator.is_empty()).unwrap_or_else(|| "Equal".to_owned());
    Toleration { key: text(&of.key), operator, value: text(&of.value), effect: text(&of.effect) }
}
