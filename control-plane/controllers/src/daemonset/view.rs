//! A DaemonSet as its controller sees it, decoded once per version.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mizzen_api::Object;

use crate::pod_owner::{OwnsPods, PodOwner};

/// How pods of a former template are replaced (`apps/v1.DaemonSetUpdateStrategy`).
#[derive(Clone, Debug)]
pub(super) enum Update {
    OnDelete,
    Rolling { max_unavailable: IntOrString, max_surge: IntOrString },
}

#[derive(Clone)]
pub(super) struct DsView {
    pub(super) owner: PodOwner,
    pub(super) min_ready_seconds: i32,
    pub(super) update: Update,
    /// How many former revisions are kept.
    pub(super) history: usize,
    pub(super) status: DaemonSetStatus,
}

impl OwnsPods for DsView {
    fn owner(&self) -> &PodOwner {
        &self.owner
    }
}

impl DsView {
    /// `None` for a document that is no DaemonSet or whose selector does not parse, which the API never stores.
    pub(super) fn of(object: &Arc<Object>) -> Option<Self> {
        let mut document = object.value().ok()?;
        let owner = PodOwner::of(object, &mut document)?;
        let typed: DaemonSet = object.decode().ok()?;
        let spec = typed.spec.unwrap_or_default();
        let strategy = spec.update_strategy.unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        Some(Self {
            owner,
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            update: match strategy.type_.as_deref() {
                Some("OnDelete") => Update::OnDelete,
                _ => Update::Rolling {
                    max_unavailable: rolling.max_unavailable.unwrap_or(IntOrString::Int(1)),
                    max_surge: rolling.max_surge.unwrap_or(IntOrString::Int(0)),
                },
            },
            history: spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10),
            status: typed.status.unwrap_or_default(),
        })
    }
}
