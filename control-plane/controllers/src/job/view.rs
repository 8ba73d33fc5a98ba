//! A Job as its controller sees it, decoded once per version.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use mizzen_api::{Object, OwnerReference};
use serde_json::Value;

use crate::pod_owner::{OwnsPods, PodOwner};

/// `spec.managedBy` of jobs that are this controller's, where it is given at all.
const MANAGER: &str = "kubernetes.io/job-controller";

#[derive(Clone)]
pub(crate) struct JobView {
    pub(crate) owner: PodOwner,
    /// What controls it in turn.
    pub(crate) controller: Option<OwnerReference>,
    /// All of the spec but the template.
    pub(super) spec: JobSpec,
    pub(crate) status: JobStatus,
}

impl OwnsPods for JobView {
    fn owner(&self) -> &PodOwner {
        &self.owner
    }
}

impl JobView {
    /// `None` for a document that is no Job or whose selector does not parse, which the API never stores.
    pub(crate) fn of(object: &Arc<Object>) -> Option<Self> {
        let mut document = object.value().ok()?;
        let owner = PodOwner::of(object, &mut document)?;
        let typed: Job = object.decode().ok()?;
        let mut spec = typed.spec.unwrap_or_default();
        spec.template = k8s_openapi::api::core::v1::PodTemplateSpec::default();
        Some(Self { owner, controller: object.head().controller().cloned(), spec, status: typed.status.unwrap_or_default() })
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
        self.owner.template.pointer("/spec/restartPolicy").and_then(Value::as_str) == Some("OnFailure")
    }
}

/// Whether a condition holds.
pub(crate) fn holds(status: &JobStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

pub(crate) fn is_finished(status: &JobStatus) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}
