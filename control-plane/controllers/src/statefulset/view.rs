//! A StatefulSet as its controller sees it, decoded once per version.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mizzen_api::Object;
use serde_json::Value;

use crate::pod_owner::{OwnsPods, PodOwner};
use crate::pod_view::PodView;

/// How pods of a former template are replaced (`apps/v1.StatefulSetUpdateStrategy`).
#[derive(Clone, Debug)]
pub(super) enum Update {
    OnDelete,
    /// Pods below `partition` keep the former template.
    Rolling {
        partition: i32,
        max_unavailable: IntOrString,
    },
}

#[derive(Clone)]
pub(super) struct SsView {
    pub(super) owner: PodOwner,
    pub(super) match_labels: Value,
    pub(super) claim_templates: Vec<Value>,
    pub(super) service: String,
    pub(super) replicas: i32,
    /// The first pod's ordinal.
    pub(super) first: i32,
    /// All pods at once instead of one after the other.
    pub(super) parallel: bool,
    pub(super) min_ready_seconds: i32,
    pub(super) update: Update,
    /// How many former revisions are kept.
    pub(super) history: usize,
    pub(super) status: StatefulSetStatus,
}

impl OwnsPods for SsView {
    fn owner(&self) -> &PodOwner {
        &self.owner
    }
}

impl SsView {
    /// `None` for a document that is no StatefulSet or whose selector does not parse, which the API never stores.
    pub(super) fn of(object: &Arc<Object>) -> Option<Self> {
        let mut document = object.value().ok()?;
        let owner = PodOwner::of(object, &mut document)?;
        let mut take = |pointer| document.pointer_mut(pointer).map(Value::take).unwrap_or_default();
        let (claims, match_labels) = (take("/spec/volumeClaimTemplates"), take("/spec/selector/matchLabels"));
        let typed: StatefulSet = object.decode().ok()?;
        let spec = typed.spec.unwrap_or_default();
        let strategy = spec.update_strategy.unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        Some(Self {
            owner,
            match_labels,
            claim_templates: match claims {
                Value::Array(claims) => claims,
                _ => Vec::new(),
            },
            service: spec.service_name.unwrap_or_default(),
            replicas: spec.replicas.unwrap_or(1),
            first: spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0),
            parallel: spec.pod_management_policy.as_deref() == Some("Parallel"),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            update: match strategy.type_.as_deref() {
                Some("OnDelete") => Update::OnDelete,
                _ => Update::Rolling {
                    partition: rolling.partition.unwrap_or(0),
                    max_unavailable: rolling.max_unavailable.unwrap_or(IntOrString::Int(1)),
                },
            },
            history: spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10),
            status: typed.status.unwrap_or_default(),
        })
    }

    /// The ordinal in a pod's name; `None` where the name is not of this set.
    pub(super) fn ordinal(&self, pod: &PodView) -> Option<i32> {
        let ordinal = pod.key.name.strip_prefix(&self.owner.key.name)?.strip_prefix('-')?;
        let plain = ordinal == "0" || !ordinal.starts_with(['0', '+', '-']);
        ordinal.parse().ok().filter(|_| plain)
    }
}
