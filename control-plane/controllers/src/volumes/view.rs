//! What binding looks at of volumes and claims.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use mizzen_api::local_path::PROVISIONED_BY;
use mizzen_api::selector::takes_node;
use mizzen_api::storage::{Offered, Wanted};
use mizzen_api::{Object, ObjectRef};
use mizzen_reconcile::{Error, typed};
use serde_json::Value;

/// On a claim: it has been bound, and is lost when its volume goes.
pub(super) const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The other side was chosen here, and not by who made the object.
pub(super) const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClaimRef {
    pub(super) key: ObjectRef,
    /// Empty where somebody keeps the volume for a claim that is still to come.
    pub(super) uid: String,
}

#[derive(Clone)]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) object: Arc<Object>,
    pub(super) offered: Offered,
    pub(super) claim: Option<ClaimRef>,
    pub(super) phase: String,
    pub(super) terminating: bool,
    pub(super) bound_here: bool,
    pub(super) policy: String,
    pub(super) provisioned: bool,
    /// The nodes from which it can be reached; all where nothing is said.
    terms: Option<Vec<Value>>,
}

/// The node of a pod that uses a claim.
pub(super) struct Consumer {
    pub(super) node: String,
    pub(super) labels: Arc<BTreeMap<String, String>>,
}

#[derive(Clone)]
pub(super) struct Claim {
    pub(super) key: ObjectRef,
    pub(super) uid: String,
    pub(super) wanted: Wanted,
    pub(super) volume: String,
    /// It has been bound before.
    pub(super) completed: bool,
}

impl Volume {
    pub(super) fn of(object: &Arc<Object>) -> Result<Self, Error> {
        let view = typed::view::<PersistentVolume>(object)?;
        let (spec, annotations) = (view.spec.clone().unwrap_or_default(), view.metadata.annotations.as_ref());
        let marked = |key: &str| annotations.is_some_and(|all| all.contains_key(key));
        let claim = spec.claim_ref.map(|reference| ClaimRef {
            key: ObjectRef::new(reference.namespace.unwrap_or_default(), reference.name.unwrap_or_default()),
            uid: reference.uid.unwrap_or_default(),
        });
        Ok(Self {
            name: object.head().name.clone(),
            object: object.clone(),
            offered: Offered::of(&view, object.head().labels.clone()),
            claim,
            phase: view.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default(),
            terminating: object.head().is_terminating(),
            bound_here: marked(BOUND_BY_CONTROLLER),
            policy: spec.persistent_volume_reclaim_policy.unwrap_or_default(),
            provisioned: marked(PROVISIONED_BY),
            terms: spec
                .node_affinity
                .and_then(|affinity| affinity.required)
                .map(|required| required.node_selector_terms.iter().filter_map(|term| serde_json::to_value(term).ok()).collect()),
        })
    }

    pub(super) fn is_reached_from(&self, consumer: &Consumer) -> bool {
        self.terms.as_ref().is_none_or(|terms| takes_node(terms, &consumer.node, &consumer.labels))
    }
}

impl Claim {
    pub(super) fn of(object: &Object) -> Result<Self, Error> {
        let view = typed::view::<PersistentVolumeClaim>(object)?;
        let annotations = view.metadata.annotations.as_ref();
        Ok(Self {
            key: object.head().object_ref(),
            uid: object.head().uid.clone(),
            wanted: Wanted::of(&view),
            volume: view.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default(),
            completed: annotations.is_some_and(|all| all.contains_key(BIND_COMPLETED)),
        })
    }
}
