//! What is done to the pods and claims of a StatefulSet.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use mizzen_api::Reason;
use mizzen_client::{ApiRequest, DeleteOptions};
use mizzen_reconcile::{Error, typed};
use serde_json::{Value, json};

use super::StatefulSets;
use super::decide::Plan;
use super::view::SsView;
use crate::namespaces::is_terminating_error;
use crate::pod_view::PodView;
use crate::revisions::{REVISION_LABEL, Revision};

/// The template that a pod is made of, with the name of its revision.
pub(super) struct Templates {
    pub(super) current: (String, Value),
    pub(super) update: (String, Value),
}

impl Templates {
    pub(super) fn new(set: &SsView, current: Option<&Revision>, update: &Revision) -> Self {
        let update = (update.key.name.clone(), set.owner.template.clone());
        let current = current.and_then(|revision| Some((revision.key.name.clone(), revision.template()?)));
        Self { current: current.unwrap_or_else(|| update.clone()), update }
    }
}

impl StatefulSets {
    pub(super) async fn carry_out(&self, set: &SsView, templates: &Templates, plan: &Plan) -> Result<(), Error> {
        for pod in &plan.failed {
            let message = format!(
                "StatefulSet {}/{} is recreating failed Pod {}",
                set.owner.key.namespace, set.owner.key.name, pod.key.name
            );
            self.recorder.warning(&set.owner.reference::<StatefulSet>(), "RecreatingFailedPod", message);
        }
        let created = join_all(plan.create.iter().map(|(ordinal, former)| {
            let (revision, template) = if *former { &templates.current } else { &templates.update };
            self.create(set, *ordinal, revision, template)
        }))
        .await;
        let deleted = join_all(plan.delete.iter().chain(&plan.failed).map(|pod| self.delete(set, pod))).await;
        created.into_iter().chain(deleted).find(Result::is_err).unwrap_or(Ok(()))
    }

    async fn create(&self, set: &SsView, ordinal: i32, revision: &str, template: &Value) -> Result<(), Error> {
        let (namespace, name) = (&set.owner.key.namespace, format!("{}-{ordinal}", set.owner.key.name));
        for claim in &set.claim_templates {
            self.create_claim(set, ordinal, claim).await?;
        }
        let request = ApiRequest::create(&typed::gvr::<Pod>(), namespace, pod_of(set, ordinal, revision, template));
        match self.client.write(request).await {
            Ok(_) => {
                let message = format!("create Pod {name} in StatefulSet {} successful", set.owner.key.name);
                self.recorder.normal(&set.owner.reference::<StatefulSet>(), "SuccessfulCreate", message);
                Ok(())
            }
            // A namespace on its way out takes no more pods, and nobody need hear of it.
            Err(status) if is_terminating_error(&status) => Ok(()),
            Err(status) => {
                if !status.is(Reason::AlreadyExists) {
                    let message = format!("create Pod {name} in StatefulSet {} failed error: {status}", set.owner.key.name);
                    self.recorder.warning(&set.owner.reference::<StatefulSet>(), "FailedCreate", message);
                }
                Err(Error::api(format!("create pods {namespace}/{name}"), status))
            }
        }
    }

    async fn create_claim(&self, set: &SsView, ordinal: i32, template: &Value) -> Result<(), Error> {
        let namespace = &set.owner.key.namespace;
        let claim = claim_of(set, ordinal, template);
        let name = claim["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match self.client.write(ApiRequest::create(&typed::gvr::<PersistentVolumeClaim>(), namespace, claim)).await {
            Ok(_) => {
                let pod = format!("{}-{ordinal}", set.owner.key.name);
                let message = format!("create Claim {name} Pod {pod} in StatefulSet {} success", set.owner.key.name);
                self.recorder.normal(&set.owner.reference::<StatefulSet>(), "SuccessfulCreate", message);
                Ok(())
            }
            Err(status) if status.is(Reason::AlreadyExists) || is_terminating_error(&status) => Ok(()),
            Err(status) => {
                self.recorder.warning(
                    &set.owner.reference::<StatefulSet>(),
                    "FailedCreate",
                    format!("create Claim {name} failed error: {status}"),
                );
                Err(Error::api(format!("create persistentvolumeclaims {namespace}/{name}"), status))
            }
        }
    }

    async fn delete(&self, set: &SsView, pod: &Arc<PodView>) -> Result<(), Error> {
        let options = DeleteOptions { uid: Some(pod.uid.clone()), ..DeleteOptions::default() };
        let name = &pod.key.name;
        match typed::delete::<Pod>(self.client.as_ref(), &pod.key.namespace, name, options).await {
            Ok(true) => {
                let message = format!("delete Pod {name} in StatefulSet {} successful", set.owner.key.name);
                self.recorder.normal(&set.owner.reference::<StatefulSet>(), "SuccessfulDelete", message);
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => {
                let message = format!("delete Pod {name} in StatefulSet {} failed error: {error}", set.owner.key.name);
                self.recorder.warning(&set.owner.reference::<StatefulSet>(), "FailedDelete", message);
                Err(error)
            }
        }
    }
}

fn claim_name(set: &SsView, ordinal: i32, template: &Value) -> String {
    let volume = template.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    format!("{volume}-{}-{ordinal}", set.owner.key.name)
}

fn claim_of(set: &SsView, ordinal: i32, template: &Value) -> Value {
    let mut claim = template.clone();
    claim["apiVersion"] = json!("v1");
    claim["kind"] = json!("PersistentVolumeClaim");
    claim["metadata"]["name"] = json!(claim_name(set, ordinal, template));
    if let Some(fields) = claim.as_object_mut() {
        fields.remove("status");
    }
    for (key, value) in set.match_labels.as_object().into_iter().flatten() {
        claim["metadata"]["labels"][key] = value.clone();
    }
    claim
}

/// The pod with an ordinal: by its name, its host name and its claims always the same.
fn pod_of(set: &SsView, ordinal: i32, revision: &str, template: &Value) -> Value {
    let name = format!("{}-{ordinal}", set.owner.key.name);
    let mut metadata = set.owner.pod_metadata::<StatefulSet>(template);
    metadata["name"] = json!(name);
    metadata["labels"][REVISION_LABEL] = json!(revision);
    metadata["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
    metadata["labels"]["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
    let mut spec = template.get("spec").cloned().unwrap_or_else(|| json!({}));
    spec["hostname"] = json!(name);
    spec["subdomain"] = json!(set.service);
    if !set.claim_templates.is_empty() {
        let mine = |claim: &Value| {
            let volume = claim.pointer("/metadata/name").cloned().unwrap_or_default();
            json!({"name": volume, "persistentVolumeClaim": {"claimName": claim_name(set, ordinal, claim)}})
        };
        let claims: Vec<Value> = set.claim_templates.iter().map(mine).collect();
        let mut volumes = spec.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
        volumes.retain(|volume| claims.iter().all(|claim| claim["name"] != volume["name"]));
        volumes.extend(claims);
        spec["volumes"] = Value::Array(volumes);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}
