//! `pods/binding`: the scheduler's decision, taken once.

use std::sync::Arc;

use mizzen_api::Status;
use mizzen_client::ApiRequest;
use serde_json::{Value, json};

use super::metadata;
use super::modify::Change;
use super::target::Target;
use super::write::unstored;
use super::{Pipeline, Written};
use crate::auth::Identity;
use crate::errors;

impl Pipeline {
    pub(super) async fn bind(&self, user: &Arc<Identity>, target: &Target, request: ApiRequest) -> Result<Written, Status> {
        let binding = super::body::parse(request.body)?.value;
        let mut target = target.clone();
        if target.name.is_empty() {
            target.name = metadata::text(&binding, "name").to_owned();
        }
        let target = &target;
        let kind = binding.pointer("/target/kind").and_then(Value::as_str).unwrap_or("Node");
        let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !matches!(kind, "Node" | "") || node.is_empty() {
            let cause = mizzen_api::validate::required("target.name", "");
            return Err(errors::invalid(&target.descriptor, &target.name, vec![cause]));
        }
        let uid = metadata::text(&binding, "uid").to_owned();
        let now = (self.clock)();
        self.modify(user, target, &request.write, |old| {
            let conflict = |why: String| Err(Status::conflict(&errors_resource(), &target.name, &why));
            if !uid.is_empty() && uid != metadata::text(old, "uid") {
                let stored = metadata::text(old, "uid");
                return conflict(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}"));
            }
            if !metadata::text(old, "deletionTimestamp").is_empty() {
                return conflict(format!("pod {} is being deleted, cannot be assigned to a host", target.name));
            }
            let bound = old.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
            if !bound.is_empty() {
                return conflict(format!("pod {} is already assigned to node {bound:?}", target.name));
            }
            let gates = old.pointer("/spec/schedulingGates").and_then(Value::as_array);
            if gates.is_some_and(|gates| !gates.is_empty()) {
                return conflict(format!("pod {} has non-empty .spec.schedulingGates", target.name));
            }
            let mut document = old.clone();
            assign(&mut document, &binding, &node, now);
            Ok(Change::from(document))
        })
        .await?;
        let answer = unstored(&json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))?;
        Ok(Written { code: 201, object: Arc::new(answer), warnings: Vec::new(), deleted: false })
    }
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
