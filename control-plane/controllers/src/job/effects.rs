//! What is done to the pods of a job.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use mizzen_api::Reason;
use mizzen_client::{ApiRequest, DeleteOptions, PatchKind};
use mizzen_reconcile::{Error, typed};
use serde_json::{Value, json};

use super::Jobs;
use super::decide::{Plan, Wanted};
use super::view::JobView;
use crate::namespaces::is_terminating_error;
use crate::pod_view::{COMPLETION_INDEX, INDEX_FAILURES, JOB_TRACKING, PodView};

impl Jobs {
    pub(super) async fn carry_out(&self, job: &JobView, plan: &Plan) -> Result<(), Error> {
        self.expectations.expect_deletions(&job.owner.key, plan.delete.iter().map(|pod| pod.uid.clone()));
        let deleted = join_all(plan.delete.iter().map(|pod| self.delete(job, pod))).await;
        let created = self.create_all(job, &plan.create).await;
        deleted.into_iter().find(Result::is_err).unwrap_or(Ok(()))?;
        created
    }

    /// Creates pods in batches that double, so that a template which cannot be created costs few requests.
    async fn create_all(&self, job: &JobView, wanted: &[Wanted]) -> Result<(), Error> {
        self.expectations.expect_creations(&job.owner.key, wanted.len());
        let (mut left, mut batch) = (wanted, 1);
        while !left.is_empty() {
            let (now, later) = left.split_at(batch.min(left.len()));
            let results = join_all(now.iter().map(|wanted| self.create(job, *wanted))).await;
            let failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
            if !failures.is_empty() {
                self.expectations.creations_settled(&job.owner.key, failures.len() + later.len());
                // A namespace on its way out takes no more pods, and nobody need hear of it.
                let ending = |error: &Error| matches!(error, Error::Api { status, .. } if is_terminating_error(status));
                return failures.into_iter().find(|error| !ending(error)).map_or(Ok(()), Err);
            }
            (left, batch) = (later, batch * 2);
        }
        Ok(())
    }

    async fn create(&self, job: &JobView, wanted: Wanted) -> Result<(), Error> {
        let request = ApiRequest::create(&typed::gvr::<Pod>(), &job.owner.key.namespace, pod_of(job, wanted));
        match self.client.write(request).await {
            Ok(response) => {
                let name = &response.object.head().name;
                self.recorder.normal(&job.owner.reference::<Job>(), "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(status) => {
                if !is_terminating_error(&status) {
                    self.recorder.warning(&job.owner.reference::<Job>(), "FailedCreate", format!("Error creating: {status}"));
                }
                Err(Error::api(format!("create pods {}/{}-", job.owner.key.namespace, job.owner.key.name), status))
            }
        }
    }

    async fn delete(&self, job: &JobView, pod: &PodView) -> Result<(), Error> {
        let options = DeleteOptions { uid: Some(pod.uid.clone()), ..DeleteOptions::default() };
        let name = &pod.key.name;
        let deleted = typed::delete::<Pod>(self.client.as_ref(), &pod.key.namespace, name, options).await;
        if !matches!(deleted, Ok(true)) {
            self.expectations.deletion_settled(&job.owner.key, &pod.uid);
        }
        match deleted {
            Ok(true) => self.recorder.normal(&job.owner.reference::<Job>(), "SuccessfulDelete", format!("Deleted pod: {name}")),
            Ok(false) => {}
            Err(error) => {
                self.recorder.warning(&job.owner.reference::<Job>(), "FailedDelete", format!("Error deleting: {error}"));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Lets pods go that are counted, or whose job is gone.
    pub(super) async fn untrack(&self, pods: &[Arc<PodView>]) -> Result<(), Error> {
        let patch = |pod: &PodView| json!({"metadata": {"uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [JOB_TRACKING]}});
        let send = |pod: Arc<PodView>| async move {
            let (namespace, name) = (&pod.key.namespace, &pod.key.name);
            let client = self.client.as_ref();
            match typed::patch::<Pod>(client, namespace, name, "", PatchKind::Strategic, patch(&pod)).await {
                Ok(_) => Ok(()),
                // It is gone, or another has its name.
                Err(error) if error.is(Reason::NotFound) || error.is(Reason::Conflict) => Ok(()),
                Err(error) => Err(error),
            }
        };
        let results = join_all(pods.iter().cloned().map(send)).await;
        results.into_iter().find(Result::is_err).unwrap_or(Ok(()))
    }
}

/// A pod of the job's template; one with an index knows it by its name, its labels and its environment.
fn pod_of(job: &JobView, wanted: Wanted) -> Value {
    let mut metadata = job.owner.pod_metadata::<Job>(&job.owner.template);
    let mut finalizers = metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    finalizers.push(json!(JOB_TRACKING));
    metadata["finalizers"] = Value::Array(finalizers);
    let mut spec = job.owner.template.get("spec").cloned().unwrap_or_else(|| json!({}));
    match wanted.index {
        None => metadata["generateName"] = json!(format!("{}-", job.owner.key.name)),
        Some(index) => {
            let host = format!("{}-{index}", job.owner.key.name);
            metadata["generateName"] = json!(format!("{host}-"));
            metadata["annotations"][COMPLETION_INDEX] = json!(index.to_string());
            metadata["labels"][COMPLETION_INDEX] = json!(index.to_string());
            spec["hostname"] = json!(host);
            tell_index(&mut spec);
        }
    }
    if let Some(failures) = wanted.failures {
        metadata["annotations"][INDEX_FAILURES] = json!(failures.to_string());
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// Adds `JOB_COMPLETION_INDEX` to containers that do not set it themselves.
fn tell_index(spec: &mut Value) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    let from = json!({"fieldRef": {"fieldPath": format!("metadata.annotations['{COMPLETION_INDEX}']")}});
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let env = container.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
            if env.iter().all(|variable| variable["name"] != NAME) {
                let own = json!({"name": NAME, "valueFrom": from});
                container["env"] = env.into_iter().chain([own]).collect();
            }
        }
    }
}
