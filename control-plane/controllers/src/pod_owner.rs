//! What is the same in all objects that own pods by a selector and make them from a template.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use mizzen_api::selector::LabelSelector;
use mizzen_api::{Object, ObjectRef};
use mizzen_reconcile::typed::Kind;
use serde_json::{Value, json};

use crate::claim::controller_reference;

/// What a controller decodes once per version of a ReplicaSet, DaemonSet, StatefulSet or Job.
#[derive(Clone)]
pub(crate) struct PodOwner {
    pub(crate) object: Arc<Object>,
    pub(crate) key: ObjectRef,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) terminating: bool,
    pub(crate) selector: LabelSelector,
    /// As stored, so that fields this build does not know reach the pods.
    pub(crate) template: Value,
}

/// A view with a [`PodOwner`] in it.
pub(crate) trait OwnsPods: Send + Sync + 'static {
    fn owner(&self) -> &PodOwner;
}

impl PodOwner {
    /// Takes the template out of the object's document; `None` where the selector does not parse, which the API never stores.
    pub(crate) fn of(object: &Arc<Object>, document: &mut Value) -> Option<Self> {
        let selector = LabelSelector::from_document(document.pointer("/spec/selector")).ok()?;
        Some(Self::with_selector(object, document, selector))
    }

    /// The same for an object whose selector is written in another way.
    pub(crate) fn with_selector(object: &Arc<Object>, document: &mut Value, selector: LabelSelector) -> Self {
        let head = object.head();
        Self {
            key: head.object_ref(),
            uid: head.uid.clone(),
            generation: head.generation,
            terminating: head.is_terminating(),
            selector,
            template: document.pointer_mut("/spec/template").map(Value::take).unwrap_or_default(),
            object: object.clone(),
        }
    }

    /// The reference by which it controls what it makes.
    pub(crate) fn controls<K: Kind>(&self) -> Value {
        controller_reference(K::API_VERSION, K::KIND, &self.key.name, &self.uid)
    }

    /// Whom its events are about.
    pub(crate) fn reference<K: Kind>(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(K::API_VERSION.to_owned()),
            kind: Some(K::KIND.to_owned()),
            name: Some(self.key.name.clone()),
            namespace: Some(self.key.namespace.clone()),
            uid: Some(self.uid.clone()),
            resource_version: Some(self.object.head().resource_version.clone()),
            field_path: None,
        }
    }

    /// The metadata of a pod that is made of `template`, still without a name.
    pub(crate) fn pod_metadata<K: Kind>(&self, template: &Value) -> Value {
        let mut metadata = json!({"ownerReferences": [self.controls::<K>()]});
        for field in ["labels", "annotations", "finalizers"] {
            if let Some(value) = template.pointer(&format!("/metadata/{field}")).filter(|value| !value.is_null()) {
                metadata[field] = value.clone();
            }
        }
        metadata
    }
}
