//! Carries a decision out: permit, pre-bind, bind, and what people are told.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use mizzen_api::Reason;
use mizzen_client::{Client, PatchKind};
use mizzen_reconcile::{Clock, Recorder, typed};
use serde_json::{Value, json};

use crate::framework::{PluginError, Point};
use crate::pod::PodInfo;
use crate::profile::Profile;

pub(crate) struct Binder {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) clock: Arc<dyn Clock>,
    /// By `schedulerName`: each profile reports under its own.
    pub(crate) recorders: HashMap<String, Recorder>,
}

impl Binder {
    pub(crate) fn normal(&self, pod: &PodInfo, reason: &str, message: impl Into<String>) {
        if let Some(recorder) = self.recorders.get(&pod.scheduler) {
            recorder.normal(&pod.reference(), reason, message);
        }
    }

    /// As Kubernetes' scheduler says it, about the victim.
    pub(crate) fn tell_preempted(&self, by: &PodInfo, victim: &PodInfo, node: &str) {
        if let Some(recorder) = self.recorders.get(&by.scheduler) {
            recorder.normal(&victim.reference(), "Preempted", format!("Preempted by pod {} on node {node}", by.uid));
        }
    }

    /// Binds a pod whose resources are reserved.
    pub(crate) async fn bind(&self, profile: &Profile, pod: &PodInfo, node: &str) -> Result<(), PluginError> {
        self.try_bind(profile, pod, node).await?;
        let message = format!("Successfully assigned {}/{} to {node}", pod.key.namespace, pod.key.name);
        self.normal(pod, "Scheduled", message);
        Ok(())
    }

    async fn try_bind(&self, profile: &Profile, pod: &PodInfo, node: &str) -> Result<(), PluginError> {
        for (_, plugin) in profile.at(Point::PreBind) {
            plugin.pre_bind(pod, node).await?;
        }
        for (_, plugin) in profile.at(Point::Bind) {
            if let Some(outcome) = plugin.bind(pod, node).await {
                return outcome;
            }
        }
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"namespace": pod.key.namespace, "name": pod.key.name, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        match typed::create_subresource::<Pod>(self.client.as_ref(), namespace, name, "binding", binding).await {
            Ok(_) => Ok(()),
            Err(error) => Err(PluginError(error.to_string())),
        }
    }

    /// Tells that a pod was not scheduled: an event, and the PodScheduled condition.
    pub(crate) async fn tell_failure(&self, pod: &PodInfo, reason: &str, message: &str, nominated: Nominated<'_>) -> Patched {
        if let Some(recorder) = self.recorders.get(&pod.scheduler) {
            recorder.warning(&pod.reference(), "FailedScheduling", message);
        }
        let told = pod.unscheduled.as_ref().is_some_and(|(r, m)| r == reason && m == message);
        let mut status = json!({});
        if !told {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
                "lastTransitionTime": self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }]);
        }
        match nominated {
            Nominated::At(node) if pod.nominated_node != node => status["nominatedNodeName"] = json!(node),
            Nominated::Nowhere if !pod.nominated_node.is_empty() => status["nominatedNodeName"] = json!(null),
            _ => {}
        }
        if status == json!({}) {
            return Patched::Written;
        }
        self.patch_status(pod, status, "tell that the pod is unschedulable").await
    }

    /// Patches a pod's status; that it has gone meanwhile is no failure.
    pub(crate) async fn patch_status(&self, pod: &PodInfo, status: Value, purpose: &str) -> Patched {
        let patch = json!({"metadata": {"uid": pod.uid}, "status": status});
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        match typed::patch::<Pod>(self.client.as_ref(), namespace, name, "status", PatchKind::Strategic, patch).await {
            Ok(_) => Patched::Written,
            Err(error) if error.is(Reason::NotFound) || error.is(Reason::Conflict) => Patched::Gone,
            Err(error) => {
                tracing::warn!(pod = %pod.key, %error, "cannot {purpose}");
                Patched::Failed
            }
        }
    }
}

/// What became of a change of a pod's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patched {
    Written,
    /// There is no such pod any more, or another one of its name.
    Gone,
    /// The reason is logged.
    Failed,
}

/// What becomes of the node that a pod is nominated for.
#[derive(Clone, Copy)]
pub(crate) enum Nominated<'a> {
    AsItIs,
    At(&'a str),
    Nowhere,
}
