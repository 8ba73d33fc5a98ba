//! What is done to the pods of a DaemonSet.

use futures::future::join_all;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use mizzen_client::{ApiRequest, DeleteOptions};
use mizzen_reconcile::{Error, typed};
use serde_json::{Value, json};

use super::DaemonSets;
use super::decide::Plan;
use super::nodes::tolerations;
use super::view::DsView;
use crate::namespaces::is_terminating_error;
use crate::pod_view::PodView;
use crate::revisions::REVISION_LABEL;

impl DaemonSets {
    pub(super) async fn carry_out(&self, set: &DsView, hash: &str, plan: &Plan) -> Result<(), Error> {
        self.expectations.expect_creations(&set.owner.key, plan.create.len());
        self.expectations.expect_deletions(&set.owner.key, plan.delete.iter().map(|pod| pod.uid.clone()));
        let created = join_all(plan.create.iter().map(|node| self.create(set, hash, node))).await;
        let deleted = join_all(plan.delete.iter().map(|pod| self.delete(set, pod))).await;
        created.into_iter().chain(deleted).find(Result::is_err).unwrap_or(Ok(()))
    }

    async fn create(&self, set: &DsView, hash: &str, node: &str) -> Result<(), Error> {
        let request = ApiRequest::create(&typed::gvr::<Pod>(), &set.owner.key.namespace, pod_for(set, hash, node));
        match self.client.write(request).await {
            Ok(response) => {
                let name = &response.object.head().name;
                self.recorder.normal(&set.owner.reference::<DaemonSet>(), "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(status) => {
                self.expectations.creations_settled(&set.owner.key, 1);
                // A namespace on its way out takes no more pods, and nobody need hear of it.
                if is_terminating_error(&status) {
                    return Ok(());
                }
                self.recorder.warning(&set.owner.reference::<DaemonSet>(), "FailedCreate", format!("Error creating: {status}"));
                Err(Error::api(format!("create pods {}/{}-", set.owner.key.namespace, set.owner.key.name), status))
            }
        }
    }

    async fn delete(&self, set: &DsView, pod: &PodView) -> Result<(), Error> {
        let options = DeleteOptions { uid: Some(pod.uid.clone()), ..DeleteOptions::default() };
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        let deleted = typed::delete::<Pod>(self.client.as_ref(), namespace, name, options).await;
        if !matches!(deleted, Ok(true)) {
            self.expectations.deletion_settled(&set.owner.key, &pod.uid);
        }
        match deleted {
            Ok(true) => {
                self.recorder.normal(&set.owner.reference::<DaemonSet>(), "SuccessfulDelete", format!("Deleted pod: {name}"))
            }
            Ok(false) => {}
            Err(error) => {
                self.recorder.warning(&set.owner.reference::<DaemonSet>(), "FailedDelete", format!("Error deleting: {error}"));
                return Err(error);
            }
        }
        Ok(())
    }
}

/// A pod of the set's template that no other node will do for: the scheduler binds it, when there is room.
fn pod_for(set: &DsView, hash: &str, node: &str) -> Value {
    let mut metadata = set.owner.pod_metadata::<DaemonSet>(&set.owner.template);
    metadata["generateName"] = json!(format!("{}-", set.owner.key.name));
    metadata["labels"][REVISION_LABEL] = json!(hash);
    let mut spec = set.owner.template.get("spec").cloned().unwrap_or_else(|| json!({}));
    spec["tolerations"] = Value::Array(tolerations(&set.owner.template));
    let here = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    // Whether the node meets the template's own terms was seen before.
    spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!({"nodeSelectorTerms": [here]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}
