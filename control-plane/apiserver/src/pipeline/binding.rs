//! `pods/binding`: the scheduler's decision, taken once.

use std::sync::Arc;

use mizzen_api::Status;
use mizzen_client::ApiRequest;
use serde_json::{Value, json};

use super::metadata;
use super::target::Target;
use super::write::{decoded, unstored};
use super::{Pipeline, Written};
use crate::admission::{Attributes, Operation, Warnings};
use crate::auth::Identity;
use crate::errors;

/// How often it is tried again on a newer pod.
const ATTEMPTS: u32 = 32;

impl Pipeline {
    /// As in Kubernetes, admission looks at the Binding, and of the pod only what it says is changed: the field has no owner, and
    /// what was valid is not looked at again. Every pod comes through here.
    pub(super) async fn bind(&self, user: &Arc<Identity>, target: &Target, request: ApiRequest) -> Result<Written, Status> {
        let mut binding = super::body::parse(request.body)?.value;
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
        let attributes = Attributes { dry_run, ..self.attributes(user, Operation::Create, target, &warnings) };
        self.admission.mutate(&attributes, &mut binding).await?;
        self.admission.validate(&attributes, Some(&binding)).await?;
        let node = node_of(&binding)?;
        for _ in 0..ATTEMPTS {
            let current = self.current(target)?;
            let old = decoded(&current)?;
            check(&target.name, &old, &binding)?;
            let is_marked = ["annotations", "labels"].iter().any(|field| binding["metadata"].get(field).is_some());
            let before = is_marked.then(|| old.clone());
            let mut pod = old;
            assign(&mut pod, &binding, &node, attributes.now);
            if let Some(before) = before {
                self.validate_document(target, &pod, Some(&before))?;
            }
            // If somebody else wrote first, what is there now decides.
            if dry_run || self.put(&target.key(), current.revision(), pod).await?.is_some() {
                let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
                let object = Arc::new(unstored(&success)?);
                return Ok(Written { code: 201, object, warnings: warnings.take(), deleted: false });
            }
        }
        Err(errors::modified(&target.group_resource(), &target.name))
    }
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

fn assign(pod: &mut Value, binding: &Value, node: &str, now: jiff::Timestamp) {
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("nodeName".to_owned(), json!(node));
    }
    for field in ["annotations", "labels"] {
        let Some(given) = binding.pointer(&format!("/metadata/{field}")).and_then(Value::as_object) else { continue };
        if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut)
            && let Some(map) = metadata.entry(field).or_insert_with(|| json!({})).as_object_mut()
        {
            map.extend(given.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": metadata::seconds(now),
    });
    let Some(status) = pod.as_object_mut().map(|pod| pod.entry("status").or_insert_with(|| json!({}))) else { return };
    let Some(status) = status.as_object_mut() else { return };
    // It has a node now, whichever one room was made on.
    status.remove("nominatedNodeName");
    if let Some(conditions) = status.entry("conditions").or_insert_with(|| json!([])).as_array_mut() {
        conditions.retain(|condition| condition.get("type").and_then(Value::as_str) != Some("PodScheduled"));
        conditions.push(scheduled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_bound_is_nominated_no_more() {
        let mut pod = json!({"spec": {}, "status": {"nominatedNodeName": "n1", "phase": "Pending"}});
        assign(&mut pod, &json!({}), "n2", jiff::Timestamp::UNIX_EPOCH);
        assert_eq!((&pod["spec"]["nodeName"], &pod["status"]["phase"]), (&json!("n2"), &json!("Pending")));
        assert_eq!(pod["status"].get("nominatedNodeName"), None);
        assert_eq!(pod["status"]["conditions"][0]["type"], "PodScheduled");
    }
}
