//! A Job as its controller sees it, decoded once per version.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use mizzen_api::selector::LabelSelector;
use mizzen_api::{Object, ObjectRef, OwnerReference};
use serde_json::Value;

use crate::observe_pods::Selects;

/// `spec.managedBy` of jobs that are this controller's, where it is given at all.
const MANAGER: &str = "kubernetes.io/job-controller";

#[derive(Clone)]
pub(crate) struct JobView {
    pub(crate) object: Arc<Object>,
    pub(crate) key: ObjectRef,
    pub(crate) uid: String,
    /// The owner that controls it.
    pub(crate) owner: Option<OwnerReference>,
    pub(crate) terminating: bool,
    pub(super) selector: LabelSelector,
    /// As stored, so that fields this build does not know reach the pods.
    pub(super) template: Value,
    /// All of the spec but the template.
    pub(super) spec: JobSpec,
    pub(crate) status: JobStatus,
}

impl Selects for JobView {
    fn key(&self) -> &ObjectRef {
        &self.key
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn selector(&self) -> &LabelSelector {
        &self.selector
    }
}

impl JobView {
    /// `None` for a document that is no Job or whose selector does not parse, which the API never stores.
    pub(crate) fn of(object: &Arc<Object>) -> Option<Self> {
        let mut document = object.value().ok()?;
        let selector = LabelSelector::from_document(document.pointer("/spec/selector")).ok()?;
        let template = document.pointer_mut("/spec/template").map(Value::take).unwrap_or_default();
        let typed: Job = object.decode().ok()?;
        let head = object.head();
        let mut spec = typed.spec.unwrap_or_default();
        spec.template = k8s_openapi::api::core::v1::PodTemplateSpec::default();
        Some(Self {
            key: head.object_ref(),
            uid: head.uid.clone(),
            owner: head.controller().cloned(),
            terminating: head.is_terminating(),
            selector,
            template,
            spec,
            status: typed.status.unwrap_or_default(),
            object: object.clone(),
        })
    }

    pub(super) fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    /// Whether another controller works on it.
    pub(super) fn is_managed_elsewhere(&self) -> bool {
        self.spec.managed_by.as_deref().is_some_and(|manager| manager != MANAGER)
    }

    /// A pod on its way out is replaced, and counts as failed, only once it has ended.
    pub(super) fn replaces_only_failed(&self) -> bool {
        self.spec.pod_replacement_policy.as_deref() == Some("Failed")
    }

    pub(super) fn restarts_in_place(&self) -> bool {
        self.template.pointer("/spec/restartPolicy").and_then(Value::as_str) == Some("OnFailure")
    }
}

/// Whether a condition holds.
pub(crate) fn holds(status: &JobStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

pub(crate) fn is_finished(status: &JobStatus) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}
