//! A Deployment as its controller sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mizzen_api::selector::LabelSelector;
use mizzen_api::{Object, ObjectRef};
use serde_json::Value;

use crate::claim::controller_reference;

pub(super) struct DeploymentView {
    pub(super) object: Arc<Object>,
    pub(super) key: ObjectRef,
    pub(super) uid: String,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) generation: i64,
    pub(super) terminating: bool,
    pub(super) paused: bool,
    pub(super) recreate: bool,
    pub(super) replicas: i32,
    /// Pods above `replicas` that a rollout may have; 0 when it recreates.
    pub(super) max_surge: i32,
    /// Pods below `replicas` that may be unavailable.
    pub(super) max_unavailable: i32,
    pub(super) min_ready_seconds: i32,
    pub(super) history_limit: Option<i32>,
    /// Seconds without progress after which a rollout counts as stuck.
    pub(super) progress_deadline: Option<i32>,
    pub(super) selector: LabelSelector,
    /// `spec.selector` as stored.
    pub(super) selector_document: Value,
    pub(super) template: Value,
    pub(super) status: DeploymentStatus,
}

impl DeploymentView {
    /// `None` for a document that is no Deployment or whose selector does not parse, which the API never stores.
    pub(super) fn of(object: &Arc<Object>) -> Option<Self> {
        let mut document = object.value().ok()?;
        let selector = LabelSelector::from_document(document.pointer("/spec/selector")).ok()?;
        let mut take = |pointer: &str| document.pointer_mut(pointer).map(Value::take).unwrap_or_default();
        let (selector_document, template) = (take("/spec/selector"), take("/spec/template"));
        let typed: Deployment = object.decode().ok()?;
        let head = object.head();
        let spec = typed.spec.unwrap_or_default();
        let strategy = spec.strategy.unwrap_or_default();
        let recreate = strategy.type_.as_deref() == Some("Recreate");
        let rolling = strategy.rolling_update.unwrap_or_default();
        let replicas = spec.replicas.unwrap_or(1);
        let quarter = IntOrString::String("25%".to_owned());
        let bounds = rollout_bounds(
            rolling.max_surge.as_ref().unwrap_or(&quarter),
            rolling.max_unavailable.as_ref().unwrap_or(&quarter),
            replicas,
        );
        let (max_surge, max_unavailable) = if recreate { (0, 0) } else { bounds };
        Some(Self {
            key: head.object_ref(),
            uid: head.uid.clone(),
            annotations: typed.metadata.annotations.unwrap_or_default(),
            generation: head.generation,
            terminating: head.is_terminating(),
            paused: spec.paused.unwrap_or(false),
            recreate,
            replicas,
            max_surge,
            max_unavailable,
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            history_limit: Some(spec.revision_history_limit.unwrap_or(10)).filter(|limit| *limit != i32::MAX),
            progress_deadline: Some(spec.progress_deadline_seconds.unwrap_or(600)).filter(|deadline| *deadline != i32::MAX),
            selector,
            selector_document,
            template,
            status: typed.status.unwrap_or_default(),
            object: object.clone(),
        })
    }

    pub(super) fn condition(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
    }

    pub(super) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some("Deployment".to_owned()),
            name: Some(self.key.name.clone()),
            namespace: Some(self.key.namespace.clone()),
            uid: Some(self.uid.clone()),
            resource_version: Some(self.object.head().resource_version.clone()),
            field_path: None,
        }
    }

    pub(super) fn reference_for_owned(&self) -> Value {
        controller_reference("apps/v1", "Deployment", &self.key.name, &self.uid)
    }
}

/// `maxSurge` rounded up and `maxUnavailable` rounded down; where both come to nothing, one pod may be unavailable, or
/// the rollout could never move.
fn rollout_bounds(surge: &IntOrString, unavailable: &IntOrString, replicas: i32) -> (i32, i32) {
    let surge = scaled(surge, replicas, true);
    let unavailable = scaled(unavailable, replicas, false);
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    (surge, unavailable.min(replicas))
}

fn scaled(value: &IntOrString, of: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
            let hundredths = percent.max(0).saturating_mul(of.max(0).into());
            let whole = if round_up { hundredths.saturating_add(99) / 100 } else { hundredths / 100 };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_in_favour_of_moving() {
        let percent = |text: &str| IntOrString::String(text.into());
        for (surge, unavailable, replicas, expected) in [
            (percent("25%"), percent("25%"), 4, (1, 1)),
            (percent("25%"), percent("25%"), 1, (1, 0)),
            (percent("25%"), percent("25%"), 10, (3, 2)),
            (percent("0%"), percent("10%"), 3, (0, 1)),
            (IntOrString::Int(0), IntOrString::Int(5), 3, (0, 3)),
            (IntOrString::Int(2), IntOrString::Int(0), 3, (2, 0)),
        ] {
            assert_eq!(rollout_bounds(&surge, &unavailable, replicas), expected, "{surge:?} {unavailable:?} of {replicas}");
        }
    }
}
