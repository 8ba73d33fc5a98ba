//! Carries a decision out: permit, pre-bind, bind, and what people are told.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use mizzen_api::Reason;
use mizzen_client::{Client, PatchKind};
use mizzen_reconcile::{Clock, Recorder, typed};
use serde_json::json;

use crate::framework::{Plugin, PluginError};
use crate::pod::PodInfo;

pub(crate) struct Binder {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recorder: Recorder,
    pub(crate) plugins: Vec<Arc<dyn Plugin>>,
}

impl Binder {
    /// Binds a pod whose resources are reserved; gives them back when it fails.
    pub(crate) async fn bind(&self, pod: &PodInfo, node: &str) -> Result<(), PluginError> {
        let outcome = self.try_bind(pod, node).await;
        match &outcome {
            Ok(()) => {
                let message = format!("Successfully assigned {}/{} to {node}", pod.key.namespace, pod.key.name);
                self.recorder.normal(&pod.reference(), "Scheduled", message);
            }
            Err(_) => self.plugins.iter().rev().for_each(|plugin| plugin.unreserve(pod, node)),
        }
        outcome
    }

    async fn try_bind(&self, pod: &PodInfo, node: &str) -> Result<(), PluginError> {
        for plugin in &self.plugins {
            plugin.permit(pod, node).await?;
        }
        for plugin in &self.plugins {
            plugin.pre_bind(pod, node).await?;
        }
        for plugin in &self.plugins {
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
    pub(crate) async fn tell_failure(&self, pod: &PodInfo, reason: &str, message: &str) {
        self.recorder.warning(&pod.reference(), "FailedScheduling", message);
        let told = pod.unscheduled.as_ref().is_some_and(|(r, m)| r == reason && m == message);
        if told {
            return;
        }
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
            "lastTransitionTime": self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        let patch = json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}});
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        match typed::patch::<Pod>(self.client.as_ref(), namespace, name, "status", PatchKind::Strategic, patch).await {
            Ok(_) => {}
            Err(error) if error.is(Reason::NotFound) || error.is(Reason::Conflict) => {}
            Err(error) => tracing::warn!(pod = %pod.key, %error, "cannot tell that the pod is unschedulable"),
        }
    }
}
