//! `pods/resize`: the amounts of CPU and memory of a pod that runs (`core/validation.ValidatePodResize`).

use serde_json::Value;

use super::super::pod_template::{SpecContext, check_spec};
use super::super::value::{list, text};
use crate::Pointed as _;
use crate::descriptor::keep_all_but;
use crate::qos::qos_class;
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::validate::{Path, forbidden, invalid_text};

const LISTS: [&str; 2] = ["containers", "initContainers"];
/// What a container may be resized in.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];
const MIRROR: &str = "/metadata/annotations/kubernetes.io~1config.mirror";

/// Takes from a request what it says of resources, and keeps all else as it is.
pub(super) fn keep_all_but_resources(object: &mut Value, old: &Value) {
    let asked: Vec<(&str, Vec<Value>)> =
        LISTS.iter().map(|field| (*field, list(object, &format!("/spec/{field}")).to_vec())).collect();
    keep_all_but(&["metadata"], object, old);
    for (field, asked) in asked {
        let Some(containers) = object.pointer_mut(&format!("/spec/{field}")).and_then(Value::as_array_mut) else { continue };
        for container in containers {
            let wanted = asked.iter().find(|wanted| wanted["name"] == container["name"]);
            let (Some(wanted), Some(container)) = (wanted, container.as_object_mut()) else { continue };
            for name in ["resources", "resizePolicy"] {
                match wanted.get(name) {
                    Some(value) => container.insert(name.to_owned(), value.clone()),
                    None => container.remove(name),
                };
            }
        }
    }
}

pub(super) fn validate(object: &Value, old: &Value) -> Vec<Cause> {
    let spec = Path::root("spec");
    let mut causes = check_spec(object.get("spec").unwrap_or(&Value::Null), &spec, SpecContext::Pod);
    let refused = |why: &str| vec![forbidden("", why)];
    if old.at("/spec/resources").is_some_and(|resources| resources.as_object().is_some_and(|list| !list.is_empty())) {
        causes.extend(refused("pods with pod-level resources cannot be resized"));
        return causes;
    }
    if old.at(MIRROR).is_some() {
        causes.extend(refused("static pods cannot be resized"));
        return causes;
    }
    if text(old, "/spec/os/name") == "windows" {
        causes.extend(refused("windows pods cannot be resized"));
        return causes;
    }
    let (class, before) = (qos_class(&object["spec"]).as_str(), qos_class(&old["spec"]).as_str());
    if class != before {
        let present = match text(old, "/status/qosClass") {
            "" => before,
            told => told,
        };
        causes.push(invalid_text("spec", present, "Pod QOS Class may not change as a result of resizing"));
    }
    for field in LISTS {
        let new = list(object, &format!("/spec/{field}"));
        for (index, (new, old)) in new.iter().zip(list(old, &format!("/spec/{field}"))).enumerate() {
            let containers = spec.field(field);
            let container = containers.index(index);
            let at = container.field("resources");
            // Others than sidecars are over before there is anything to resize.
            if field == "initContainers" && text(old, "/restartPolicy") != "Always" && new != old {
                causes.push(forbidden("spec", "only cpu and memory resources for sidecar containers are mutable"));
                continue;
            }
            for (amounts, why) in
                [("requests", "resource requests cannot be removed"), ("limits", "resource limits cannot be removed")]
            {
                if is_removed(new, old, amounts) {
                    causes.push(forbidden(at.field(amounts), why));
                }
            }
            if rest(new) != rest(old) {
                let whose = if field == "containers" { "" } else { " for sidecar containers" };
                causes.push(forbidden("spec", &format!("only cpu and memory resources{whose} are mutable")));
            }
        }
    }
    causes
}

fn is_removed(new: &Value, old: &Value, amounts: &str) -> bool {
    let of = |container: &Value, name: &str| container.at(&format!("/resources/{amounts}/{name}")).is_some();
    RESIZABLE.iter().any(|name| of(old, name) && !of(new, name))
}

/// A container without the amounts that may change; amounts that mean the same are written the same.
fn rest(container: &Value) -> Value {
    let mut rest = container.clone();
    let Some(resources) = rest.get_mut("resources").and_then(Value::as_object_mut) else { return rest };
    for amounts in ["requests", "limits"] {
        let Some(given) = resources.get_mut(amounts).and_then(Value::as_object_mut) else { continue };
        given.retain(|name, _| !RESIZABLE.contains(&name.as_str()));
        for amount in given.values_mut() {
            if let Ok(quantity) = Quantity::from_value(amount) {
                *amount = Value::String(quantity.to_string());
            }
        }
        if given.is_empty() {
            resources.remove(amounts);
        }
    }
    if resources.is_empty()
        && let Some(rest) = rest.as_object_mut()
    {
        rest.remove("resources");
    }
    rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(resources: Value) -> Value {
        let container = json!({"name": "a", "image": "x:1", "imagePullPolicy": "Always", "terminationMessagePolicy": "File",
            "terminationMessagePath": "/dev/termination-log", "resources": resources});
        json!({"metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"containers": [container], "restartPolicy": "Always", "dnsPolicy": "Default"}})
    }

    fn told(new: Value, old: Value) -> Vec<String> {
        validate(&pod(new), &pod(old)).into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn amounts_of_cpu_and_memory_may_change() {
        let old = json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}});
        let new = json!({"requests": {"cpu": "200m", "memory": "32Mi"}, "limits": {"memory": "64Mi", "cpu": "1"}});
        assert_eq!(told(new, old.clone()), Vec::<String>::new());
        for (new, why) in [
            (
                json!({"requests": {"cpu": "1"}, "limits": {"memory": "128Mi"}}),
                "requests: Forbidden: resource requests cannot be removed",
            ),
            (json!({"requests": {"cpu": "1", "memory": "1Mi"}}), "limits: Forbidden: resource limits cannot be removed"),
            (
                json!({"requests": {"cpu": "1", "memory": "128Mi"}, "limits": {"memory": "128Mi", "cpu": "1"}}),
                "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing",
            ),
            (
                json!({"requests": {"cpu": "1", "memory": "1Mi", "ephemeral-storage": "1"}, "limits": {"memory": "128Mi"}}),
                "spec: Forbidden: only cpu and memory resources are mutable",
            ),
            (
                json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "128Mi"}}),
                "must be less than or equal to memory limit",
            ),
        ] {
            let told = told(new, old.clone());
            assert!(told.iter().any(|cause| cause.contains(why)), "{why}: {told:?}");
        }
        assert!(told(json!({"requests": {"cpu": "1"}}), json!({}))[0].contains("Pod QOS Class may not change"));
    }

    #[test]
    fn only_resources_are_taken_from_the_request() {
        let old = pod(json!({"requests": {"cpu": "1"}}));
        let mut new = pod(json!({"requests": {"cpu": "2"}}));
        new["spec"]["containers"][0]["image"] = json!("y:1");
        new["spec"]["priority"] = json!(5);
        keep_all_but_resources(&mut new, &old);
        let mut wanted = old.clone();
        wanted["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("2");
        assert_eq!(new, wanted);
    }

    #[test]
    fn some_pods_cannot_be_resized() {
        let amounts = json!({"requests": {"cpu": "1"}});
        for (pointer, value, why) in [
            ("spec/os", json!({"name": "windows"}), "windows pods cannot be resized"),
            ("spec/resources", json!({"limits": {"cpu": "2"}}), "pods with pod-level resources cannot be resized"),
            ("metadata/annotations", json!({"kubernetes.io/config.mirror": "x"}), "static pods cannot be resized"),
        ] {
            let (mut old, mut new) = (pod(amounts.clone()), pod(json!({"requests": {"cpu": "2"}})));
            let (part, field) = pointer.split_once('/').expect("two parts");
            old[part][field] = value.clone();
            new[part][field] = value;
            let told = validate(&new, &old);
            assert!(told.iter().any(|cause| cause.message.ends_with(why)), "{told:?}");
        }
    }
}
