//! `pods/binding`: the scheduler's decision, taken once.

use std::sync::{Arc, LazyLock};

use mizzen_api::edit::Edit;
use mizzen_api::object::Encoded;
use mizzen_api::pick::Pick;
use mizzen_api::{Object, Status};
use mizzen_client::ApiRequest;
use serde_json::{Value, json};

use super::metadata;
use super::target::Target;
use super::write::{Beside, decoded, unstored, without_metadata};
use super::{Pipeline, Written};
use crate::admission::{Attributes, Operation, Options, Warnings};
use crate::auth::Identity;
use crate::errors;

/// How often it is tried again on a newer pod.
const ATTEMPTS: u32 = 32;

impl Pipeline {
    /// As in Kubernetes, admission looks at the Binding, and of the pod only what it says is changed: the field has no owner, and
    /// what was valid is not looked at again. Every pod comes through here.
    pub(super) async fn bind(&self, user: &Arc<Identity>, target: &Target, request: ApiRequest) -> Result<Written, Status> {
        let mut binding = super::body::read(request.body).await?.value;
        let mut target = target.clone();
        if target.name.is_empty() {
            target.name = metadata::text(&binding, "name").to_owned();
        }
        let target = &target;
        let node_of = |binding: &Value| {
            let kind = binding.pointer("/target/kind").and_then(Value::as_str).unwrap_or("Node");
            let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default();
            if !matches!(kind, "Node" | "") || node.is_empty() {
                let cause = mizzen_api::validate::required("target.name", "");
                return Err(errors::invalid(&target.descriptor, &target.name, vec![cause]));
            }
            Ok(node.to_owned())
        };
        node_of(&binding)?;
        metadata::of(&mut binding)?;
        let warnings = Warnings::default();
        let dry_run = request.write.dry_run;
        let attributes = Attributes {
            dry_run,
            options: Options::Write(&request.write),
            ..self.attributes(user, Operation::Create, target, &warnings)
        };
        self.admission.mutate(&attributes, &mut binding).await?;
        self.admission.validate(&attributes, Some(&binding)).await?;
        let node = node_of(&binding)?;
        for _ in 0..ATTEMPTS {
            let current = self.current(target)?;
            let pod = current.pick(&LOOKED_AT).map_err(|error| undecoded(&current, &error))?;
            check(&target.name, &pod, &binding)?;
            let mut bound = assign(&current, pod, &node, attributes.now)?;
            if MARKS.iter().any(|field| binding["metadata"].get(field).is_some()) {
                bound = self.marked(target, &current, &bound, &binding)?;
            }
            // If somebody else wrote first, what is there now decides.
            if dry_run || self.put_encoded(&target.key(), current.revision(), bound, Beside::default()).await?.is_some() {
                let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
                let object = Arc::new(unstored(&success)?);
                return Ok(Written { code: 201, object, warnings: warnings.take(), deleted: false });
            }
        }
        Err(errors::modified(&target.group_resource(), &target.name))
    }

    /// The bound pod with the annotations and labels of its binding.
    fn marked(&self, target: &Target, current: &Object, bound: &Encoded, binding: &Value) -> Result<Encoded, Status> {
        let mut pod: Value = serde_json::from_slice(&bound.bytes).map_err(|error| undecoded(current, &error))?;
        let before = decoded(current)?;
        for field in MARKS {
            let Some(given) = binding["metadata"].get(field).and_then(Value::as_object) else { continue };
            if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut)
                && let Some(map) = metadata.entry(field).or_insert_with(|| json!({})).as_object_mut()
            {
                map.extend(given.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        // What is said of the metadata's revision is of the document that is stored.
        pod["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        self.validate_document(target, &pod, Some(&before))?;
        Encoded::from_value(pod).ok_or_else(without_metadata)
    }
}

/// What a binding can add to a pod's metadata.
const MARKS: [&str; 2] = ["annotations", "labels"];

/// What a binding depends on. The rest of a pod is not decoded.
static LOOKED_AT: LazyLock<Pick> = LazyLock::new(|| {
    Pick::of(["/metadata/uid", "/metadata/deletionTimestamp", "/spec/nodeName", "/spec/schedulingGates", "/status"])
});

fn undecoded(object: &Object, error: &serde_json::Error) -> Status {
    Status::internal(format!("decode {object:?}: {error}"))
}

/// Whether the pod can be bound, and is the one that is meant.
fn check(name: &str, pod: &Value, binding: &Value) -> Result<(), Status> {
    let conflict = |why: String| Err(Status::conflict(&errors_resource(), name, &why));
    let (uid, stored) = (metadata::text(binding, "uid"), metadata::text(pod, "uid"));
    if !uid.is_empty() && uid != stored {
        return conflict(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}"));
    }
    if !metadata::text(pod, "deletionTimestamp").is_empty() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let bound = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if !bound.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {bound:?}"));
    }
    let gates = pod.pointer("/spec/schedulingGates").and_then(Value::as_array);
    if gates.is_some_and(|gates| !gates.is_empty()) {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    Ok(())
}

fn errors_resource() -> mizzen_api::GroupResource {
    mizzen_api::GroupResource::new("", "pods/binding")
}

/// The pod on its node; `pod` is what was decoded of it.
fn assign(current: &Object, mut pod: Value, node: &str, now: jiff::Timestamp) -> Result<Encoded, Status> {
    let mut edit = Edit::of(current).map_err(|error| undecoded(current, &error))?;
    if pod.pointer("/spec/nodeName").is_some() {
        // Written, though empty.
        let mut spec = decoded(current)?["spec"].take();
        spec["nodeName"] = json!(node);
        edit.set("spec", &spec);
    } else {
        edit.add("spec", "nodeName", &json!(node));
    }
    let mut status = pod["status"].take();
    if !status.is_object() {
        status = json!({});
    }
    // It has a node now, whichever one room was made on.
    if let Some(status) = status.as_object_mut() {
        status.remove("nominatedNodeName");
    }
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": metadata::seconds(now),
    });
    match status["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|condition| condition.get("type").and_then(Value::as_str) != Some("PodScheduled"));
            conditions.push(scheduled);
        }
        None => status["conditions"] = json!([scheduled]),
    }
    edit.set("status", &status);
    edit.encoded().ok_or_else(without_metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_bound_is_nominated_no_more() {
        let pod = json!({
            "metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]},
            "status": {"nominatedNodeName": "n1", "phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False"}, {"type": "Other", "status": "True"}]},
        });
        let bound = |pod: &Value| {
            let stored = Object::new(Encoded::from_value(pod.clone()).expect("encodes").at_revision(3), 3);
            let picked = stored.pick(&LOOKED_AT).expect("is JSON");
            let bound = assign(&stored, picked, "n2", jiff::Timestamp::UNIX_EPOCH).expect("is a pod");
            Object::new(bound.at_revision(4), 4).value().expect("is JSON")
        };
        let mut given = pod.clone();
        given["spec"]["nodeName"] = json!("");
        assert_eq!(bound(&given), bound(&pod), "no node");
        let mut bare = pod.clone();
        bare["status"] = json!(null);
        assert_eq!(bound(&bare)["status"]["conditions"][0]["type"], "PodScheduled");
        let pod = bound(&pod);
        assert_eq!(pod["metadata"], json!({"name": "p", "labels": {"a": "b"}, "resourceVersion": "4"}));
        assert_eq!(pod["spec"], json!({"containers": [{"name": "c"}], "nodeName": "n2"}));
        assert_eq!(pod["status"]["phase"], "Pending");
        assert_eq!(pod["status"].get("nominatedNodeName"), None);
        assert_eq!(pod["status"]["conditions"][0]["type"], "Other");
        assert_eq!((&pod["status"]["conditions"][1]["status"], &pod["status"]["conditions"][2]), (&json!("True"), &json!(null)));
    }
}
