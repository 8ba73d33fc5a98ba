//! A ReplicaSet or ReplicationController as controllers see it, decoded once per version.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use mizzen_api::selector::LabelSelector;
use mizzen_api::{Object, OwnerReference};
use serde_json::{Value, json};

use crate::pod_owner::{OwnsPods, PodOwner};

#[derive(Clone)]
pub(crate) struct RsView {
    pub(crate) owner: PodOwner,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) controller: Option<OwnerReference>,
    pub(crate) replicas: i32,
    pub(crate) min_ready_seconds: i32,
    pub(crate) status: ReplicaSetStatus,
}

impl OwnsPods for RsView {
    fn owner(&self) -> &PodOwner {
        &self.owner
    }
}

impl RsView {
    /// `None` for a document that is no ReplicaSet or whose selector does not parse, which the API never stores.
    pub(crate) fn of(object: &Arc<Object>) -> Option<Self> {
        let mut document = object.value().ok()?;
        let owner = PodOwner::of(object, &mut document)?;
        Self::new(owner, document)
    }

    /// A ReplicationController: it differs in that its selector is nothing but labels.
    pub(crate) fn of_replication_controller(object: &Arc<Object>) -> Option<Self> {
        let mut document = object.value().ok()?;
        let labels = json!({"matchLabels": document.pointer("/spec/selector")});
        let selector = LabelSelector::from_document(Some(&labels)).ok()?;
        Self::new(PodOwner::with_selector(object, &mut document, selector), document)
    }

    fn new(owner: PodOwner, mut document: Value) -> Option<Self> {
        let mut decoded = |pointer: &str| document.pointer_mut(pointer).map(Value::take).filter(|value| !value.is_null());
        let annotations = decoded("/metadata/annotations").map(serde_json::from_value).transpose().ok()?;
        let status = decoded("/status").map(serde_json::from_value).transpose().ok()?;
        let number = |field: &str| document.get("spec")?.get(field)?.as_i64()?.try_into().ok();
        let head = owner.object.head();
        Some(Self {
            labels: head.labels.clone(),
            annotations: annotations.unwrap_or_default(),
            created: head.creation_timestamp.as_deref().and_then(|text| text.parse().ok()),
            controller: head.controller().cloned(),
            replicas: number("replicas").unwrap_or(1),
            min_ready_seconds: number("minReadySeconds").unwrap_or(0),
            status: status.unwrap_or_default(),
            owner,
        })
    }

    pub(crate) fn available(&self) -> i32 {
        self.status.available_replicas.unwrap_or(0)
    }
}
