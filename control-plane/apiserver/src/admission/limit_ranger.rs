//! LimitRanger: what a namespace's LimitRanges give to containers that ask for nothing, and refuse to containers, pods
//! and claims that ask for too little or too much.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mizzen_api::Pointed as _;
use mizzen_api::Status;
use mizzen_api::pod_resources::{self, Resources};
use mizzen_api::qos::qos_class;
use mizzen_api::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::{Attributes, Operation, Plugin};

pub(super) struct LimitRanger;

/// Says on a pod which of its amounts come from here.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const CONTAINERS: &[(&str, &str)] = &[("initContainers", "init container"), ("containers", "container")];

#[async_trait]
impl Plugin for LimitRanger {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        if attributes.creates_pod() {
            for range in ranges(attributes)? {
                fill(object, &range);
            }
            // What a pod asks for in the end decides its class.
            let class = qos_class(object.get("spec").unwrap_or(&Value::Null)).as_str();
            if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
                status.insert("qosClass".to_owned(), json!(class));
            }
        }
        Ok(())
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let resizes = attributes.writes_pod_of("resize");
        let claim = attributes.operation != Operation::Delete
            && attributes.subresource().is_empty()
            && (attributes.group(), attributes.resource()) == ("", "persistentvolumeclaims");
        let Some(object) = object.filter(|_| attributes.creates_pod() || resizes || claim) else { return Ok(()) };
        if object.at("/metadata/deletionTimestamp").is_some() {
            return Ok(());
        }
        let mut complaints = Complaints::default();
        for range in ranges(attributes)? {
            for item in items(&range) {
                if claim { check_claim(item, object, &mut complaints) } else { check_pod(item, object, &mut complaints) }
            }
        }
        match complaints.words() {
            None => Ok(()),
            Some(why) => Err(attributes.forbid(&why)),
        }
    }
}

fn ranges(attributes: &Attributes<'_>) -> Result<Vec<Value>, Status> {
    attributes.list("", "limitranges", attributes.namespace())
}

fn items(range: &Value) -> impl Iterator<Item = &Value> {
    range.at("/spec/limits").and_then(Value::as_array).into_iter().flatten()
}

fn kind(item: &Value) -> &str {
    item.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Gives every container the amounts that it lacks, and says so in an annotation.
fn fill(pod: &mut Value, range: &Value) {
    let (mut requests, mut limits) = (Map::new(), Map::new());
    for item in items(range).filter(|item| kind(item) == "Container") {
        for (from, to) in [("defaultRequest", &mut requests), ("default", &mut limits)] {
            to.extend(item.get(from).and_then(Value::as_object).cloned().unwrap_or_default());
        }
    }
    let mut given = Vec::new();
    for (field, word) in CONTAINERS.iter().rev() {
        let containers = pod.pointer_mut(&format!("/spec/{field}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            for (list, defaults, what) in [("requests", &requests, "request"), ("limits", &limits, "limit")] {
                let added = add_missing(container, list, defaults);
                if !added.is_empty() {
                    given.push(format!("{} {what} for {word} {name}", added.join(", ")));
                }
            }
        }
    }
    if given.is_empty() {
        return;
    }
    let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if let Some(annotations) = metadata.entry("annotations").or_insert_with(|| json!({})).as_object_mut() {
        annotations.insert(ANNOTATION.to_owned(), json!(format!("LimitRanger plugin set: {}", given.join("; "))));
    }
}

/// The names of the amounts that were missing, in order.
fn add_missing(container: &mut Value, list: &str, defaults: &Map<String, Value>) -> Vec<String> {
    let present =
        |container: &Value, name: &str| container.at(&format!("/resources/{list}")).is_some_and(|l| l.get(name).is_some());
    let missing: BTreeMap<&String, &Value> = defaults.iter().filter(|(name, _)| !present(container, name)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let amounts = container
        .as_object_mut()
        .and_then(|container| container.entry("resources").or_insert_with(|| json!({})).as_object_mut())
        .and_then(|resources| resources.entry(list).or_insert_with(|| json!({})).as_object_mut());
    let Some(amounts) = amounts else { return Vec::new() };
    amounts.extend(missing.iter().map(|(name, amount)| ((*name).clone(), (*amount).clone())));
    missing.into_keys().cloned().collect()
}

/// What is wrong, each thing once.
#[derive(Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn add(&mut self, complaint: Option<String>) {
        self.0.extend(complaint.filter(|complaint| !self.0.contains(complaint)));
    }

    /// One complaint as it is, several as a list.
    fn words(self) -> Option<String> {
        match self.0.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(format!("[{}]", several.join(", "))),
        }
    }
}

fn check_pod(item: &Value, pod: &Value, complaints: &mut Complaints) {
    let Some(spec) = pod.get("spec") else { return };
    match kind(item) {
        "Container" => {
            for (field, _) in CONTAINERS.iter().rev() {
                for container in spec.get(field).and_then(Value::as_array).into_iter().flatten() {
                    let list = |name: &str| container.at(&format!("/resources/{name}")).map(amounts).unwrap_or_default();
                    check(item, &list("requests"), Some(&list("limits")), complaints);
                }
            }
        }
        "Pod" => {
            // What the runtime class adds is not the pod's own wish.
            let mut spec = spec.clone();
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("overhead");
            }
            let (requests, limits) = (pod_resources::requests(&spec), pod_resources::stated_limits(&spec));
            check(item, &requests, Some(&limits), complaints);
        }
        _ => {}
    }
}

fn check_claim(item: &Value, claim: &Value, complaints: &mut Complaints) {
    if kind(item) == "PersistentVolumeClaim" {
        let requests = claim.at("/spec/resources/requests").map(amounts).unwrap_or_default();
        check(item, &requests, None, complaints);
    }
}

fn amounts(list: &Value) -> Resources {
    let entries = list.as_object().into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), Quantity::from_value(amount).ok()?))).collect()
}

/// `limits` is `None` where only requests exist.
fn check(item: &Value, requests: &Resources, limits: Option<&Resources>, complaints: &mut Complaints) {
    let bounds = |field: &str| -> BTreeMap<String, Quantity> { item.get(field).map(amounts).unwrap_or_default() };
    let kind = kind(item);
    let none = Resources::new();
    let given = limits.unwrap_or(&none);
    for (name, bound) in bounds("min") {
        complaints.add(below(kind, &name, bound, requests.get(&name), given.get(&name)));
    }
    for (name, bound) in bounds("max") {
        let (first, second) = match limits {
            Some(limits) => (("limit", limits.get(&name)), ("request", requests.get(&name))),
            None => (("request", requests.get(&name)), ("request", None)),
        };
        complaints.add(above(kind, &name, bound, first, second));
    }
    if limits.is_some() {
        for (name, bound) in bounds("maxLimitRequestRatio") {
            complaints.add(ratio(kind, &name, bound, requests.get(&name), given.get(&name)));
        }
    }
}

fn below(kind: &str, name: &str, min: Quantity, request: Option<&Quantity>, limit: Option<&Quantity>) -> Option<String> {
    let head = format!("minimum {name} usage per {kind} is {min}");
    match (request, limit) {
        (None, _) => Some(format!("{head}.  No request is specified")),
        (Some(request), _) if *request < min => Some(format!("{head}, but request is {request}")),
        (_, Some(limit)) if *limit < min => Some(format!("{head}, but limit is {limit}")),
        _ => None,
    }
}

/// The first amount has to be there; the second only may not be too great.
fn above(
    kind: &str,
    name: &str,
    max: Quantity,
    first: (&str, Option<&Quantity>),
    second: (&str, Option<&Quantity>),
) -> Option<String> {
    let head = format!("maximum {name} usage per {kind} is {max}");
    match (first, second) {
        ((what, None), _) => Some(format!("{head}.  No {what} is specified")),
        ((what, Some(amount)), _) | (_, (what, Some(amount))) if *amount > max => Some(format!("{head}, but {what} is {amount}")),
        _ => None,
    }
}

fn ratio(kind: &str, name: &str, max: Quantity, request: Option<&Quantity>, limit: Option<&Quantity>) -> Option<String> {
    let head = format!("{name} max limit to request ratio per {kind} is {max}");
    let stated = |amount: Option<&Quantity>| amount.copied().filter(|amount| !amount.is_zero());
    let Some(request) = stated(request) else { return Some(format!("{head}, but no request is specified or request is 0")) };
    let Some(limit) = stated(limit) else { return Some(format!("{head}, but no limit is specified or limit is 0")) };
    let provided = limit.ratio(request);
    (provided > max.ratio(Quantity::from_units(1))).then(|| format!("{head}, but provided ratio is {provided:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(item: Value) -> Value {
        json!({"spec": {"limits": [item]}})
    }

    fn complaints(item: &Value, resources: Value) -> Option<String> {
        let mut found = Complaints::default();
        let pod = json!({"spec": {"containers": [{"name": "a", "resources": resources}]}});
        check_pod(item, &pod, &mut found);
        found.words()
    }

    #[test]
    fn a_container_gets_what_it_lacks_and_keeps_what_it_has() {
        let range = range(json!({"type": "Container", "defaultRequest": {"cpu": "1", "memory": "1Gi"}, "default": {"cpu": "2"}}));
        let mut pod = json!({"metadata": {}, "spec": {
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "5"}}}], "initContainers": [{"name": "i"}],
        }});
        fill(&mut pod, &range);
        let of = |field: &str| pod["spec"][field][0]["resources"].clone();
        assert_eq!(of("containers"), json!({"requests": {"cpu": "5", "memory": "1Gi"}, "limits": {"cpu": "2"}}));
        assert_eq!(of("initContainers"), json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}));
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: memory request for container a; cpu limit for container a; cpu, memory request for \
             init container i; cpu limit for init container i"
        );
    }

    #[test]
    fn amounts_out_of_bounds_are_refused_in_kubernetes_words() {
        let bound = |field: &str, amount: &str| json!({"type": "Container", field: {"cpu": amount}});
        for (item, resources, expected) in [
            (bound("min", "50m"), json!({}), Some("minimum cpu usage per Container is 50m.  No request is specified")),
            (
                bound("min", "50m"),
                json!({"requests": {"cpu": "10m"}}),
                Some("minimum cpu usage per Container is 50m, but request is 10m"),
            ),
            (bound("min", "50m"), json!({"requests": {"cpu": "0.05"}}), None),
            (
                bound("max", "1"),
                json!({"requests": {"cpu": "1"}}),
                Some("maximum cpu usage per Container is 1.  No limit is specified"),
            ),
            (bound("max", "1"), json!({"limits": {"cpu": "2"}}), Some("maximum cpu usage per Container is 1, but limit is 2")),
            (
                bound("maxLimitRequestRatio", "2"),
                json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}),
                Some("cpu max limit to request ratio per Container is 2, but provided ratio is 5.000000"),
            ),
            (
                json!({"type": "Pod", "max": {"cpu": "1", "memory": "1Gi"}}),
                json!({"limits": {"cpu": "2", "memory": "2Gi"}}),
                Some("[maximum cpu usage per Pod is 1, but limit is 2, maximum memory usage per Pod is 1Gi, but limit is 2Gi]"),
            ),
        ] {
            assert_eq!(complaints(&item, resources.clone()).as_deref(), expected, "{item} {resources}");
        }
    }

    #[test]
    fn a_claim_is_bounded_by_what_it_requests() {
        let item = json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}});
        for (storage, expected) in [
            ("1Gi", None),
            ("3Gi", Some("maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi")),
            ("1Mi", Some("minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi")),
        ] {
            let mut found = Complaints::default();
            check_claim(&item, &json!({"spec": {"resources": {"requests": {"storage": storage}}}}), &mut found);
            assert_eq!(found.words().as_deref(), expected);
        }
    }
}
