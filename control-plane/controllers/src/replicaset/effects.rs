//! What is done to pods.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use mizzen_client::{ApiRequest, DeleteOptions};
use mizzen_reconcile::typed::Kind;
use mizzen_reconcile::{Error, typed};
use serde_json::{Value, json};

use super::Replicas;
use super::decide::Decision;
use super::view::RsView;
use crate::claim_pods::Claimant;
use crate::namespaces::is_terminating_error;
use crate::pod_view::PodView;

/// Why the number of pods could not be changed.
pub(super) struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub(super) reason: &'static str,
    pub(super) error: Error,
}

impl<K: Kind> Replicas<K> {
    /// The set's pods, after adopting and releasing.
    pub(super) async fn claimed(&self, set: &RsView) -> Result<Vec<Arc<PodView>>, Error> {
        Claimant { owner: &set.owner, finalizer: None }.pods::<K>(self.client.as_ref(), &self.pods, PodView::is_active).await
    }

    pub(super) async fn carry_out(&self, set: &RsView, decision: Decision) -> Result<(), Failure> {
        match decision {
            Decision::Nothing => Ok(()),
            Decision::Create(count) => self.create(set, count).await.map_err(|error| Failure { reason: "FailedCreate", error }),
            Decision::Delete(pods) => self.delete(set, pods).await.map_err(|error| Failure { reason: "FailedDelete", error }),
        }
    }

    /// Creates pods in batches that double, so that a template which cannot be created costs few requests.
    async fn create(&self, set: &RsView, count: usize) -> Result<(), Error> {
        self.expectations.expect_creations(&set.owner.key, count);
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let size = batch.min(left);
            let results = join_all((0..size).map(|_| self.create_one(set))).await;
            let failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
            left -= size;
            if !failures.is_empty() {
                self.expectations.creations_settled(&set.owner.key, failures.len() + left);
                // A namespace on its way out takes no more pods, and nobody need hear of it.
                let mut failures = failures.into_iter().filter(|error| !is_namespace_terminating(error));
                return failures.next().map_or(Ok(()), Err);
            }
            batch *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, set: &RsView) -> Result<(), Error> {
        let request = ApiRequest::create(&typed::gvr::<Pod>(), &set.owner.key.namespace, pod_of::<K>(set));
        match self.client.write(request).await {
            Ok(response) => {
                let name = &response.object.head().name;
                self.recorder.normal(&set.owner.reference::<K>(), "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(status) => {
                self.recorder.warning(&set.owner.reference::<K>(), "FailedCreate", format!("Error creating: {status}"));
                Err(Error::api(format!("create pods {}/{}-", set.owner.key.namespace, set.owner.key.name), status))
            }
        }
    }

    async fn delete(&self, set: &RsView, pods: Vec<Arc<PodView>>) -> Result<(), Error> {
        self.expectations.expect_deletions(&set.owner.key, pods.iter().map(|pod| pod.uid.clone()));
        let results = join_all(pods.iter().map(|pod| self.delete_one(set, pod))).await;
        results.into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }

    async fn delete_one(&self, set: &RsView, pod: &PodView) -> Result<(), Error> {
        let options = DeleteOptions { uid: Some(pod.uid.clone()), ..DeleteOptions::default() };
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        match typed::delete::<Pod>(self.client.as_ref(), namespace, name, options).await {
            Ok(true) => {
                self.recorder.normal(&set.owner.reference::<K>(), "SuccessfulDelete", format!("Deleted pod: {name}"));
                Ok(())
            }
            Ok(false) => {
                self.expectations.deletion_settled(&set.owner.key, &pod.uid);
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_settled(&set.owner.key, &pod.uid);
                self.recorder.warning(&set.owner.reference::<K>(), "FailedDelete", format!("Error deleting: {error}"));
                Err(error)
            }
        }
    }
}

fn is_namespace_terminating(error: &Error) -> bool {
    matches!(error, Error::Api { status, .. } if is_terminating_error(status))
}

/// A pod of the set's template.
fn pod_of<K: Kind>(set: &RsView) -> Value {
    let mut metadata = set.owner.pod_metadata::<K>(&set.owner.template);
    metadata["generateName"] = json!(format!("{}-", set.owner.key.name));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": set.owner.template.get("spec")})
}
