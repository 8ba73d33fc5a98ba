//! What of a pod may change (`core/validation.ValidatePodUpdate`).

use serde_json::Value;

use super::super::pod_template::{SpecContext, check_spec};
use super::super::value::{int, list, text};
use super::gated;
use crate::Pointed as _;
use crate::status::Cause;
use crate::validate::{Path, forbidden, invalid};

const MUTABLE: &str = "pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
    (allow it to be set to 1 if it was previously negative)";

/// Says that a node runs the pod without having been told by the API: a pod is made so, or never is.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What no update changes of the metadata, whichever part of the pod it is about.
fn check_annotations(object: &Value, old: &Value) -> Vec<Cause> {
    let mirror = |pod: &Value| pod.at("/metadata/annotations").and_then(|all| all.get(MIRROR)).cloned();
    let why = match (mirror(object), mirror(old)) {
        (new, before) if new == before => return Vec::new(),
        (_, Some(_)) => "may not remove or update mirror pod annotation",
        (_, None) => "may not add mirror pod annotation",
    };
    vec![forbidden(Path::root("metadata").field("annotations").key(MIRROR), why)]
}

pub(super) fn validate_update(object: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = check_annotations(object, old);
    // Most updates are of the status.
    if object.get("spec") == old.get("spec") {
        return causes;
    }
    let spec = Path::root("spec");
    for field in ["containers", "initContainers"] {
        let pointer = format!("/spec/{field}");
        if list(object, &pointer).len() != list(old, &pointer).len() {
            causes.push(forbidden(spec.field(field), "pod updates may not add or remove containers"));
            return causes;
        }
    }
    check_deadline(object, old, &spec, &mut causes);
    let tolerations = list(object, "/spec/tolerations");
    if list(old, "/spec/tolerations").iter().any(|kept| !tolerations.iter().any(|new| same_toleration(new, kept))) {
        causes.push(forbidden(spec.field("tolerations"), "existing toleration can not be modified except its tolerationSeconds"));
    }
    check_gates(object, old, &spec, &mut causes);

    let mut masked = object.get("spec").cloned().unwrap_or_default();
    let mut before = old.get("spec").cloned().unwrap_or_default();
    let may_end_sooner = int(old, "/spec/terminationGracePeriodSeconds").is_some_and(|grace| grace < 0)
        && int(object, "/spec/terminationGracePeriodSeconds") == Some(1);
    let is_bound_now = is_binding(object, old);
    let was_gated = gated::is_gated(old);
    if was_gated {
        causes.extend(gated::check(object, old, &spec));
    }
    for spec in [&mut masked, &mut before] {
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("activeDeadlineSeconds");
            fields.remove("tolerations");
            fields.remove("schedulingGates");
            if was_gated {
                gated::mask(fields);
            }
            if is_bound_now {
                fields.remove("nodeName");
            }
            if may_end_sooner {
                fields.remove("terminationGracePeriodSeconds");
            }
        }
        for field in ["containers", "initContainers"] {
            for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(container) = container.as_object_mut() {
                    container.remove("image");
                }
            }
        }
    }
    if masked != before {
        causes.push(forbidden(spec, &format!("{MUTABLE}\n{}", difference(&before, &masked))));
    }
    causes
}

/// A binding sets the node together with the condition that says so; no other request can change both at once.
fn is_binding(object: &Value, old: &Value) -> bool {
    let scheduled = |pod: &Value| {
        list(pod, "/status/conditions").iter().any(|c| text(c, "/type") == "PodScheduled" && text(c, "/status") == "True")
    };
    text(old, "/spec/nodeName").is_empty() && scheduled(object) && !scheduled(old)
}

/// The fields that differ, for the person who reads the message.
fn difference(old: &Value, new: &Value) -> String {
    let empty = serde_json::Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let keys: std::collections::BTreeSet<&String> =
        old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).collect();
    let named: Vec<String> = keys.into_iter().map(|key| format!("spec.{key}")).collect();
    format!("changed: {}", named.join(", "))
}

fn same_toleration(new: &Value, old: &Value) -> bool {
    ["/key", "/operator", "/value", "/effect"].iter().all(|field| text(new, field) == text(old, field))
}

fn check_deadline(object: &Value, old: &Value, spec: &Path, causes: &mut Vec<Cause>) {
    let at = spec.field("activeDeadlineSeconds");
    let number = |object: &Value| int(object, "/spec/activeDeadlineSeconds");
    match (number(object), number(old)) {
        (Some(new), Some(old)) if new > old => {
            causes.push(invalid(at, &new.into(), format!("must be less than or equal to previous value {old}")));
        }
        (None, Some(_)) => causes.push(invalid(at, &Value::Null, "must not update from a positive integer to nil value")),
        _ => {}
    }
}

fn check_gates(object: &Value, old: &Value, spec: &Path, causes: &mut Vec<Cause>) {
    let before = list(old, "/spec/schedulingGates");
    for (index, gate) in list(object, "/spec/schedulingGates").iter().enumerate() {
        if !before.contains(gate) {
            let gates = spec.field("schedulingGates");
            causes.push(forbidden(gates.index(index), "only deletion is allowed, but found new scheduling gate"));
        }
    }
}

pub(super) fn validate_ephemeral_containers(object: &Value, old: &Value) -> Vec<Cause> {
    let spec = Path::root("spec");
    let mut causes = check_annotations(object, old);
    causes.extend(check_spec(object.get("spec").unwrap_or(&Value::Null), &spec, SpecContext::Pod));
    let at = spec.field("ephemeralContainers");
    let new = list(object, "/spec/ephemeralContainers");
    for kept in list(old, "/spec/ephemeralContainers") {
        let name = text(kept, "/name");
        match new.iter().find(|container| text(container, "/name") == name) {
            None => causes.push(forbidden(at, &format!("existing ephemeral containers {name:?} may not be removed\n"))),
            Some(container) if container != kept => {
                causes.push(forbidden(at, &format!("existing ephemeral containers {name:?} may not be changed\n")));
            }
            Some(_) => {}
        }
    }
    causes
}

pub(super) fn validate_status(object: &Value, old: &Value) -> Vec<Cause> {
    let (new, before) = (text(object, "/spec/nodeName"), text(old, "/spec/nodeName"));
    let mut causes = check_annotations(object, old);
    causes.extend((new != before).then(|| forbidden("status.nodeName", "may not be changed directly")));
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(changes: &[(&str, Value)]) -> Value {
        let mut pod = json!({"spec": {
            "containers": [{"name": "a", "image": "x:1", "env": []}], "initContainers": [],
            "tolerations": [{"key": "a", "operator": "Exists"}], "activeDeadlineSeconds": 10, "nodeName": "n", "unknown": 1,
            "schedulingGates": [{"name": "a/b"}],
        }});
        for (pointer, value) in changes {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            pod.pointer_mut(parent).expect("a parent")[key] = value.clone();
        }
        pod
    }

    #[test]
    fn only_images_deadlines_and_new_tolerations_may_change() {
        let more = json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 3}, {"key": "b", "operator": "Exists"}]);
        for (changes, field) in [
            (vec![], None),
            (vec![("/spec/containers", json!([{"name": "a", "image": "x:2", "env": []}]))], None),
            (vec![("/spec/tolerations", more)], None),
            (vec![("/spec/activeDeadlineSeconds", json!(5))], None),
            (vec![("/spec/schedulingGates", json!([]))], None),
            (vec![("/spec/activeDeadlineSeconds", json!(11))], Some("spec.activeDeadlineSeconds")),
            (vec![("/spec/tolerations", json!([]))], Some("spec.tolerations")),
            (vec![("/spec/nodeName", json!("m"))], Some("spec")),
            (vec![("/spec/unknown", json!(2))], Some("spec")),
            (vec![("/spec/containers", json!([{"name": "b", "image": "x:1", "env": []}]))], Some("spec")),
            (vec![("/spec/containers", json!([]))], Some("spec.containers")),
            (vec![("/spec/schedulingGates", json!([{"name": "c/d"}]))], Some("spec.schedulingGates[0]")),
        ] {
            let causes = validate_update(&pod(&changes), &pod(&[]));
            assert_eq!(causes.first().map(|cause| cause.field.as_str()), field, "{changes:?}: {causes:?}");
        }
    }

    #[test]
    fn a_pod_stays_what_it_was_made_as_a_mirror_or_not() {
        let pod = |annotations: Value| json!({"metadata": {"annotations": annotations}, "spec": {"containers": []}});
        let (plain, mirror, other) = (pod(json!({})), pod(json!({MIRROR: "a"})), pod(json!({MIRROR: "b", "x": "y"})));
        let (kept, changed) = ("may not remove or update mirror pod annotation", "may not add mirror pod annotation");
        for (object, old, why) in [
            (&mirror, &mirror, None),
            (&pod(json!({"x": "y"})), &plain, None),
            (&plain, &mirror, Some(kept)),
            (&other, &mirror, Some(kept)),
            (&mirror, &plain, Some(changed)),
        ] {
            let wanted: Vec<String> = why.iter().map(|why| format!("Forbidden: {why}")).collect();
            for causes in [validate_update(object, old), validate_status(object, old), validate_ephemeral_containers(object, old)]
            {
                let told: Vec<&Cause> = causes.iter().filter(|cause| cause.field.starts_with("metadata")).collect();
                assert!(told.iter().all(|cause| cause.field == "metadata.annotations[kubernetes.io/config.mirror]"), "{told:?}");
                assert_eq!(told.iter().map(|cause| cause.message.clone()).collect::<Vec<_>>(), wanted);
            }
        }
    }

    #[test]
    fn a_binding_sets_the_node_once() {
        let free = json!({"spec": {"containers": []}, "status": {}});
        let condition = json!([{"type": "PodScheduled", "status": "True"}]);
        let bound = json!({"spec": {"containers": [], "nodeName": "n"}, "status": {"conditions": condition}});
        let moved = json!({"spec": {"containers": [], "nodeName": "m"}, "status": {"conditions": condition}});
        assert_eq!(validate_update(&bound, &free), []);
        assert_eq!(validate_update(&moved, &bound).len(), 1);
        let by_hand = json!({"spec": {"containers": [], "nodeName": "n"}, "status": {}});
        assert_eq!(validate_update(&by_hand, &free).len(), 1);
    }

    #[test]
    fn the_refusal_names_what_may_change_and_what_did() {
        let causes = validate_update(&pod(&[("/spec/nodeName", json!("m"))]), &pod(&[]));
        assert!(
            causes[0].message.starts_with("Forbidden: pod updates may not change fields other than `spec.containers[*].image`,")
        );
        assert!(causes[0].message.ends_with("changed: spec.nodeName"), "{}", causes[0].message);
    }

    #[test]
    fn ephemeral_containers_may_only_be_added() {
        let with = |containers: Value| json!({"spec": {"containers": [{"name": "a", "image": "b", "imagePullPolicy": "Always"}], "ephemeralContainers": containers}});
        let (one, two) = (json!({"name": "e", "image": "i"}), json!({"name": "f", "image": "i"}));
        assert_eq!(validate_ephemeral_containers(&with(json!([one, two])), &with(json!([one]))), []);
        assert_eq!(validate_ephemeral_containers(&with(json!([two])), &with(json!([one]))).len(), 1);
    }
}
