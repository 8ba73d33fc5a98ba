//! Tells the API how a pod is, when that has changed.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use mizzen_api::Reason;
use mizzen_client::{ApiRequest, PatchKind};
use mizzen_reconcile::typed::gvr;
use serde_json::{Value, json};

use super::conditions::RESIZES;
use crate::shared::Shared;

/// Conditions that the node sets, beside those about resizes; others are somebody else's.
const OURS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

fn is_ours(kind: &str) -> bool {
    OURS.contains(&kind) || RESIZES.contains(&kind)
}

/// The pod with the status that this node told last: what the API shows may be older.
pub(crate) fn with_latest_status(pod: &Pod, told: Option<&PodStatus>) -> Pod {
    let mut pod = pod.clone();
    if let Some(told) = told {
        let mut status = told.clone();
        let theirs = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let mut conditions = told.conditions.clone().unwrap_or_default();
        conditions.retain(|condition| is_ours(&condition.type_));
        conditions.extend(theirs.into_iter().filter(|condition| !is_ours(&condition.type_)));
        status.conditions = Some(conditions);
        pod.status = Some(status);
    }
    pod
}

/// What became of a status that was to be written.
pub(crate) enum Told {
    /// It stands, in this version of the object.
    At(u64),
    /// There is nobody to tell it of.
    Moot,
    /// It should be tried again.
    Not,
}

/// Writes the status.
pub(crate) async fn publish(shared: &Shared, pod: &Pod, status: &PodStatus) -> Told {
    let Ok(mut value) = serde_json::to_value(status) else { return Told::Moot };
    if let Some(fields) = value.as_object_mut() {
        // What was said before and is not any more must be taken back.
        for field in ["reason", "message"] {
            fields.entry(field).or_insert(Value::Null);
        }
        if let Some(conditions) = fields.get_mut("conditions").and_then(Value::as_array_mut) {
            conditions.retain(|condition| condition["type"].as_str().is_some_and(|kind| is_ours(kind) || !exists(pod, kind)));
            for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
                condition.entry("reason").or_insert(Value::Null);
                condition.entry("message").or_insert(Value::Null);
            }
            let over = RESIZES.iter().filter(|kind| exists(pod, kind) && !conditions.iter().any(|told| told["type"] == **kind));
            let over: Vec<Value> = over.map(|kind| json!({"type": kind, "$patch": "delete"})).collect();
            conditions.extend(over);
        }
    }
    let (namespace, name) =
        (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
    let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": value});
    let request =
        ApiRequest::patch(&gvr::<Pod>(), namespace, name, PatchKind::Strategic, patch).subresource("status").manager("kubelet");
    match shared.client.write(request).await {
        Ok(response) => Told::At(version(&response.object.head().resource_version)),
        // The object is gone, or another of the same name has come: its own worker speaks for that one.
        Err(status) if status.is(Reason::NotFound) || status.is(Reason::Conflict) => Told::Moot,
        // That the server is away is told by the lease.
        Err(status) if status.is(Reason::ServiceUnavailable) => {
            tracing::debug!(namespace, name, %status, "pod status not written");
            Told::Not
        }
        Err(status) => {
            tracing::warn!(namespace, name, %status, "pod status not written");
            Told::Not
        }
    }
}

fn exists(pod: &Pod, kind: &str) -> bool {
    pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).any(|condition| condition.type_ == kind)
}

fn version(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// Whether the API shows conditions of ours otherwise than they were told: somebody has changed them since version `at`.
pub(crate) fn is_contradicted(pod: &Pod, told: Option<&PodStatus>, at: u64) -> bool {
    if version(pod.metadata.resource_version.as_deref().unwrap_or_default()) <= at {
        return false;
    }
    let shown: Vec<_> = pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).collect();
    let mut ours = told.iter().flat_map(|told| told.conditions.iter().flatten()).filter(|told| OURS.contains(&&*told.type_));
    ours.any(|told| !shown.iter().any(|shown| shown.type_ == told.type_ && shown.status == told.status))
}

/// Whether two statuses say the same.
pub(crate) fn same(told: Option<&PodStatus>, status: &PodStatus) -> bool {
    told == Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_made_of_our_conditions_is_told_again() {
        let status = |ready: &str| json!({"conditions": [{"type": "Ready", "status": ready}, {"type": "Mine", "status": ready}]});
        let told: PodStatus = serde_json::from_value(status("True")).expect("a status");
        let contradicted = |version: &str, status: Value| {
            let pod = json!({"metadata": {"resourceVersion": version}, "spec": {"containers": []}, "status": status});
            is_contradicted(&serde_json::from_value(pod).expect("a pod"), Some(&told), 7)
        };
        assert!(contradicted("8", status("False")) && contradicted("8", json!({})));
        assert!(!contradicted("8", status("True")));
        // It was read before we told.
        assert!(!contradicted("6", status("False")));
        assert!(!contradicted(
            "8",
            json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "Mine", "status": "False"}]})
        ));
    }
}
