//! A ReplicaSet as controllers see it, decoded once per version.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use mizzen_api::selector::LabelSelector;
use mizzen_api::{Object, ObjectRef, OwnerReference};
use serde_json::Value;

#[derive(Clone)]
pub(crate) struct RsView {
    pub(crate) object: Arc<Object>,
    pub(crate) key: ObjectRef,
    pub(crate) uid: String,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) generation: i64,
    pub(crate) terminating: bool,
    pub(crate) controller: Option<OwnerReference>,
    pub(crate) replicas: i32,
    pub(crate) min_ready_seconds: i32,
    pub(crate) selector: LabelSelector,
    /// As stored, so that fields this build does not know reach the pods.
    pub(crate) template: Value,
    pub(crate) status: ReplicaSetStatus,
}

impl RsView {
    /// `None` for a document that is no ReplicaSet or whose selector does not parse, which the API never stores.
    pub(crate) fn of(object: &Arc<Object>) -> Option<Self> {
        let mut document = object.value().ok()?;
        let selector = LabelSelector::from_document(document.pointer("/spec/selector")).ok()?;
        let template = document.pointer_mut("/spec/template").map(Value::take).unwrap_or_default();
        let typed: ReplicaSet = object.decode().ok()?;
        let head = object.head();
        let spec = typed.spec.unwrap_or_default();
        Some(Self {
            key: head.object_ref(),
            uid: head.uid.clone(),
            labels: head.labels.clone(),
            annotations: typed.metadata.annotations.unwrap_or_default(),
            created: typed.metadata.creation_timestamp.map(|time| time.0),
            generation: head.generation,
            terminating: head.is_terminating(),
            controller: head.controller().cloned(),
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            selector,
            template,
            status: typed.status.unwrap_or_default(),
            object: object.clone(),
        })
    }

    pub(crate) fn available(&self) -> i32 {
        self.status.available_replicas.unwrap_or(0)
    }
}
