//! Carries a preemption out: the pod is nominated for the node, and its victims are told why and deleted.

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use mizzen_client::DeleteOptions;
use mizzen_reconcile::typed;
use serde_json::json;

use crate::binding::{Nominated, Patched};
use crate::framework::{ClusterEvent, Nomination};
use crate::pod::PodInfo;
use crate::scheduler::Scheduler;

/// Why a pod is not made to end.
#[derive(Debug, thiserror::Error)]
enum PreemptionError {
    #[error("its condition DisruptionTarget cannot be set")]
    NotTold,
    #[error(transparent)]
    Delete(#[from] mizzen_reconcile::Error),
}

impl Scheduler {
    /// Makes room for a pod, whose place on the node is kept already. It goes back to the queue at the end: until then,
    /// nothing tries it again.
    pub(crate) async fn make_room(&self, pod: &PodInfo, to: &Nomination, message: &str, wakes_on: HashSet<ClusterEvent>) {
        let told = self.binder.tell_failure(pod, "Unschedulable", message, Nominated::At(&to.node)).await;
        // Nobody ends for a pod that is gone.
        if told == Patched::Gone || !self.is_waiting(pod) {
            self.forget_nomination(pod);
            return self.queue.unschedulable(&pod.key, wakes_on);
        }
        for victim in &to.victims {
            if let Err(error) = self.preempt(pod, victim, &to.node).await {
                tracing::warn!(pod = %pod.key, victim = %victim.key, %error, "cannot preempt");
                self.forget_nomination(pod);
                self.binder.patch_status(pod, json!({"nominatedNodeName": null}), "take a nomination back").await;
                self.queue.failed(&pod.key);
                return;
            }
        }
        self.displace_nominated(pod, &to.node).await;
        self.queue.unschedulable(&pod.key, wakes_on);
    }

    async fn preempt(&self, pod: &PodInfo, victim: &PodInfo, node: &str) -> Result<(), PreemptionError> {
        if victim.terminating {
            return Ok(());
        }
        // One that is not bound yet loses its place only.
        if self.waiting.reject(&victim.uid) {
            self.binder.tell_preempted(pod, victim, node);
            return Ok(());
        }
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": format!("{}: preempting to accommodate a higher priority pod", pod.scheduler),
            "lastTransitionTime": self.binder.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        let told = self.binder.patch_status(victim, json!({"conditions": [condition]}), "tell a pod that it is preempted").await;
        if told == Patched::Failed {
            return Err(PreemptionError::NotTold);
        }
        let options = DeleteOptions { uid: Some(victim.uid.clone()), ..DeleteOptions::default() };
        let (namespace, name) = (&victim.key.namespace, &victim.key.name);
        if typed::delete::<Pod>(self.binder.client.as_ref(), namespace, name, options).await? {
            self.binder.tell_preempted(pod, victim, node);
        }
        Ok(())
    }

    /// Pods of a lower priority that are nominated for the node may not fit there any more: they look for another one.
    async fn displace_nominated(&self, pod: &PodInfo, node: &str) {
        let displaced: Vec<Arc<PodInfo>> = self.cluster.lock().nominated_after(pod, node);
        for other in displaced {
            self.forget_nomination(&other);
            self.binder.patch_status(&other, json!({"nominatedNodeName": null}), "take a nomination back").await;
            self.queue.add(&other.key, other.priority, other.created);
        }
    }
}
