//! What is asked of the API, for a policy to judge.

use std::cell::OnceCell;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::mizzen::policy::types;
pub use crate::bindings::mizzen::policy::types::Operation;
use crate::seek::seek;
use crate::{GroupVersionKind, GroupVersionResource, User};

/// One request. Of its objects is parsed what is asked for, once.
pub struct Request {
    inner: types::Request,
    object: OnceCell<Value>,
    old_object: OnceCell<Value>,
    labels: OnceCell<Value>,
    annotations: OnceCell<Value>,
    pod_spec: OnceCell<Value>,
}

impl Request {
    pub(crate) fn new(inner: types::Request) -> Self {
        Self {
            inner,
            object: OnceCell::new(),
            old_object: OnceCell::new(),
            labels: OnceCell::new(),
            annotations: OnceCell::new(),
            pod_spec: OnceCell::new(),
        }
    }

    pub fn operation(&self) -> Operation {
        self.inner.operation
    }

    pub fn kind(&self) -> &GroupVersionKind {
        &self.inner.kind
    }

    pub fn resource(&self) -> &GroupVersionResource {
        &self.inner.resource
    }

    pub fn subresource(&self) -> Option<&str> {
        self.inner.subresource.as_deref()
    }

    /// Empty where the server makes the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Empty for what stands in no namespace.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    pub fn user(&self) -> &User {
        &self.inner.user
    }

    pub fn dry_run(&self) -> bool {
        self.inner.dry_run
    }

    /// The object after the request, parsed as a whole: what [`Self::field`], [`Self::label`] and [`Self::containers`] find costs
    /// a fraction of it. Null for deletions.
    pub fn object(&self) -> &Value {
        self.object.get_or_init(|| value(self.inner.object.as_deref()))
    }

    /// The object before the request; null for creations.
    pub fn old_object(&self) -> &Value {
        self.old_object.get_or_init(|| value(self.inner.old_object.as_deref()))
    }

    /// The object after the request as a type: quicker than [`Self::object`] where only a few fields matter. None without an
    /// object, or where it has another form.
    pub fn parse<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.inner.object.as_deref()?).ok()
    }

    /// What the object has at a JSON pointer such as `/spec/replicas`, without parsing the rest of it. None where it has nothing
    /// there, or something else.
    pub fn field<T: DeserializeOwned>(&self, pointer: &str) -> Option<T> {
        seek(self.inner.object.as_deref()?, pointer)
    }

    /// One of the object's labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.part(&self.labels, "/metadata/labels").get(key)?.as_str()
    }

    /// One of the object's annotations.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.part(&self.annotations, "/metadata/annotations").get(key)?.as_str()
    }

    fn part<'a>(&self, cell: &'a OnceCell<Value>, pointer: &str) -> &'a Value {
        cell.get_or_init(|| self.field(pointer).unwrap_or(Value::Null))
    }

    /// Where the object holds a pod's specification, as a JSON pointer; none for kinds that run no pods.
    pub fn pod_spec_path(&self) -> Option<&'static str> {
        Some(match self.inner.kind.kind.as_str() {
            "Pod" => "/spec",
            "CronJob" => "/spec/jobTemplate/spec/template/spec",
            "PodTemplate" => "/template/spec",
            "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicationController" => "/spec/template/spec",
            _ => return None,
        })
    }

    /// The specification of the object's pod; null for kinds that run none.
    pub fn pod_spec(&self) -> &Value {
        match self.pod_spec_path() {
            Some(path) => self.part(&self.pod_spec, path),
            None => &Value::Null,
        }
    }

    /// Every container of the object's pod (init and ephemeral ones too), each with its place as a JSON pointer.
    pub fn containers(&self) -> Vec<(String, &Value)> {
        let (Some(path), spec) = (self.pod_spec_path(), self.pod_spec()) else { return Vec::new() };
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let all = lists.into_iter().flat_map(|list| {
            let containers = spec.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            containers.iter().enumerate().map(move |(n, container)| (format!("{path}/{list}/{n}"), container))
        });
        all.collect()
    }
}

fn value(json: Option<&str>) -> Value {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or(Value::Null)
}
