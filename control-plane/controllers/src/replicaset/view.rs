//! A ReplicaSet or ReplicationController as controllers see it, decoded once per version.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSetStatus;
use mizzen_api::selector::LabelSelector;
use mizzen_api::{Object, ObjectRef, OwnerReference};
use serde_json::{Value, json};

use crate::observe_pods::Selects;

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

impl Selects for RsView {
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

impl RsView {
    /// `None` for a document that is no ReplicaSet or whose selector does not parse, which the API never stores.
    pub(crate) fn of(object: &Arc<Object>) -> Option<Self> {
        let document = object.value().ok()?;
        let selector = LabelSelector::from_document(document.pointer("/spec/selector")).ok()?;
        Self::new(object, document, selector)
    }

    /// A ReplicationController: it differs in that its selector is nothing but labels.
    pub(crate) fn of_replication_controller(object: &Arc<Object>) -> Option<Self> {
        let document = object.value().ok()?;
        let labels = json!({"matchLabels": document.pointer("/spec/selector")});
        let selector = LabelSelector::from_document(Some(&labels)).ok()?;
        Self::new(object, document, selector)
    }

    fn new(object: &Arc<Object>, mut document: Value, selector: LabelSelector) -> Option<Self> {
        let template = document.pointer_mut("/spec/template").map(Value::take).unwrap_or_default();
        let mut decoded = |pointer: &str| document.pointer_mut(pointer).map(Value::take).filter(|value| !value.is_null());
        let annotations = decoded("/metadata/annotations").map(serde_json::from_value).transpose().ok()?;
        let status = decoded("/status").map(serde_json::from_value).transpose().ok()?;
        let number = |field: &str| document.get("spec")?.get(field)?.as_i64()?.try_into().ok();
        let head = object.head();
        Some(Self {
            key: head.object_ref(),
            uid: head.uid.clone(),
            labels: head.labels.clone(),
            annotations: annotations.unwrap_or_default(),
            created: head.creation_timestamp.as_deref().and_then(|text| text.parse().ok()),
            generation: head.generation,
            terminating: head.is_terminating(),
            controller: head.controller().cloned(),
            replicas: number("replicas").unwrap_or(1),
            min_ready_seconds: number("minReadySeconds").unwrap_or(0),
            selector,
            template,
            status: status.unwrap_or_default(),
            object: object.clone(),
        })
    }

    pub(crate) fn available(&self) -> i32 {
        self.status.available_replicas.unwrap_or(0)
    }
}
