//! What an object counts for against a ResourceQuota, and which objects a quota is about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Pointed as _;
use crate::names::GroupResource;
use crate::pod_resources::{self, Resources};
use crate::qos::{Qos, qos_class};
use crate::quantity::Quantity;

const STORAGE: &str = "requests.storage";
const CLASS_INFIX: &str = ".storageclass.storage.k8s.io/";
/// Kinds whose number may also be bounded under their plain name.
const PLAIN: &[&str] =
    &["configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"];
/// Where one of these is bounded, each container has to state it.
const STATED: &[&str] = &["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// The amounts in a list of a document, such as `spec.hard`; what is no quantity is left out.
pub fn amounts(document: &Value, pointer: &str) -> Resources {
    let entries = document.at(pointer).and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), Quantity::from_value(amount).ok()?))).collect()
}

/// What is counted under a name of `spec.hard`; `None` for a name that counts nothing.
pub fn counted(name: &str) -> Option<GroupResource> {
    let core = |resource: &str| Some(GroupResource::new("", resource));
    if let Some(full) = name.strip_prefix("count/") {
        let (resource, group) = full.split_once('.').unwrap_or((full, ""));
        return Some(GroupResource::new(group, resource));
    }
    if name == STORAGE || name.contains(CLASS_INFIX) {
        return core("persistentvolumeclaims");
    }
    if PLAIN.contains(&name) {
        return core(name);
    }
    if name.starts_with("services.") {
        return core("services");
    }
    let amount = name.strip_prefix("requests.").or(name.strip_prefix("limits.")).unwrap_or(name);
    let of_pods = matches!(name, "pods") || matches!(amount, "cpu" | "memory" | "ephemeral-storage");
    let extended = name.starts_with("requests.") && amount.contains('/');
    (of_pods || extended || amount.starts_with("hugepages-")).then(|| GroupResource::new("", "pods"))
}

/// What one object counts for, under all the names that it could be bounded by.
pub fn usage(kind: &GroupResource, object: &Value) -> Resources {
    let mut used = Resources::new();
    let count = match &*kind.group {
        "" => format!("count/{}", kind.resource),
        group => format!("count/{}.{group}", kind.resource),
    };
    used.insert(count, Quantity::from_units(1));
    if !kind.group.is_empty() {
        return used;
    }
    if PLAIN.contains(&&*kind.resource) {
        used.insert(kind.resource.to_string(), Quantity::from_units(1));
    }
    match &*kind.resource {
        "pods" => add_pod(object, &mut used),
        "services" => add_service(object, &mut used),
        "persistentvolumeclaims" => add_claim(object, &mut used),
        _ => {}
    }
    used
}

fn add_pod(pod: &Value, used: &mut Resources) {
    if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return;
    }
    used.insert("pods".to_owned(), Quantity::from_units(1));
    let Some(spec) = pod.get("spec") else { return };
    for (name, amount) in pod_resources::requests(spec) {
        let is_huge = name.starts_with("hugepages-");
        if is_huge || matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            used.insert(name.clone(), amount);
        }
        used.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in pod_resources::stated_limits(spec) {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            used.insert(format!("limits.{name}"), amount);
        }
    }
}

fn add_service(service: &Value, used: &mut Resources) {
    let ports = service.at("/spec/ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let count = |ports: usize| Quantity::from_units(i64::try_from(ports).unwrap_or(i64::MAX));
    let (balancers, node_ports) = match text(service, "/spec/type") {
        "NodePort" => (0, ports.len()),
        "LoadBalancer" => {
            let allocates = service.at("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
            let has_one = |port: &Value| port.get("nodePort").and_then(Value::as_i64).is_some_and(|port| port != 0);
            (1, ports.iter().filter(|port| allocates || has_one(port)).count())
        }
        _ => (0, 0),
    };
    used.insert("services.loadbalancers".to_owned(), count(balancers));
    used.insert("services.nodeports".to_owned(), count(node_ports));
}

fn add_claim(claim: &Value, used: &mut Resources) {
    let storage = amounts(claim, "/spec/resources/requests").get("storage").copied().unwrap_or_default();
    used.insert(STORAGE.to_owned(), storage);
    let class = text(claim, "/spec/storageClassName");
    if !class.is_empty() {
        used.insert(format!("{class}{CLASS_INFIX}{STORAGE}"), storage);
        used.insert(format!("{class}{CLASS_INFIX}persistentvolumeclaims"), Quantity::from_units(1));
    }
}

/// Whether an object is in all scopes of a quota. Only pods are in any.
pub fn is_in_scope(quota: &Value, kind: &GroupResource, object: &Value) -> bool {
    let list = |pointer: &str| quota.at(pointer).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let scopes = list("/spec/scopes");
    let selectors = list("/spec/scopeSelector/matchExpressions");
    if scopes.is_empty() && selectors.is_empty() {
        return true;
    }
    let is_pod = kind.group.is_empty() && &*kind.resource == "pods";
    is_pod
        && scopes.iter().filter_map(Value::as_str).all(|scope| pod_is_in(scope, object))
        && selectors.iter().all(|selector| is_selected(selector, object))
}

fn is_selected(selector: &Value, pod: &Value) -> bool {
    let scope = text(selector, "/scopeName");
    if scope != "PriorityClass" {
        return pod_is_in(scope, pod);
    }
    let class = text(pod, "/spec/priorityClassName");
    let named = || {
        let values = selector.get("values").and_then(Value::as_array).into_iter().flatten();
        !class.is_empty() && values.filter_map(Value::as_str).any(|value| value == class)
    };
    match text(selector, "/operator") {
        "In" => named(),
        "NotIn" => !named(),
        "DoesNotExist" => class.is_empty(),
        _ => !class.is_empty(),
    }
}

fn pod_is_in(scope: &str, pod: &Value) -> bool {
    let terminates = || pod.at("/spec/activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds >= 0);
    let best_effort = || qos_class(pod.get("spec").unwrap_or(&Value::Null)) == Qos::BestEffort;
    match scope {
        "Terminating" => terminates(),
        "NotTerminating" => !terminates(),
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => !text(pod, "/spec/priorityClassName").is_empty(),
        "CrossNamespacePodAffinity" => looks_into_other_namespaces(pod),
        _ => false,
    }
}

fn looks_into_other_namespaces(pod: &Value) -> bool {
    let other = |term: &Value| {
        let named = term.get("namespaces").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
        named || term.get("namespaceSelector").is_some_and(|selector| !selector.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().filter_map(|kind| pod.at(&format!("/spec/affinity/{kind}"))).any(|affinity| {
        let terms = |field: &str| affinity.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        terms("requiredDuringSchedulingIgnoredDuringExecution").iter().any(other)
            || terms("preferredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .filter_map(|weighted| weighted.get("podAffinityTerm"))
                .any(other)
    })
}

/// What containers of a pod leave unsaid of the names that a quota bounds, as Kubernetes words it; `None` when all is
/// said.
pub fn unstated(hard: &Resources, pod: &Value) -> Option<String> {
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let bounded = STATED.iter().copied().filter(|name| hard.contains_key(*name));
    for name in bounded {
        let (list, amount) = name.split_once('.').unwrap_or(("requests", name));
        let states = |holder: &Value| holder.at(&format!("/resources/{list}/{amount}")).is_some();
        if pod.get("spec").is_some_and(states) {
            continue;
        }
        for container in ["containers", "initContainers"]
            .iter()
            .filter_map(|field| pod.at(&format!("/spec/{field}"))?.as_array())
            .flatten()
            .filter(|container| !states(container))
        {
            missing.entry(name).or_default().insert(text(container, "/name"));
        }
    }
    if missing.is_empty() {
        return None;
    }
    let words: Vec<String> = missing
        .into_iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(",")))
        .collect();
    Some(format!("must specify {}", words.join("; ")))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.at(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(group: &str, resource: &str, object: Value) -> String {
        let used = usage(&GroupResource::new(group, resource), &object);
        used.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_kind_counts_for_what_it_takes() {
        let pod = json!({"spec": {"containers": [{"resources": {
            "requests": {"cpu": "1", "example.com/gpu": "2"}, "limits": {"cpu": "2"},
        }}]}});
        let service = json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
            "ports": [{"nodePort": 30000}, {}]}});
        let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}});
        for (group, resource, object, expected) in [
            ("", "pods", pod, "count/pods=1 cpu=1 limits.cpu=2 pods=1 requests.cpu=1 requests.example.com/gpu=2"),
            ("", "pods", json!({"status": {"phase": "Succeeded"}}), "count/pods=1"),
            ("", "services", service, "count/services=1 services=1 services.loadbalancers=1 services.nodeports=1"),
            (
                "",
                "persistentvolumeclaims",
                claim,
                "count/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/persistentvolumeclaims=1 \
                 gold.storageclass.storage.k8s.io/requests.storage=1Gi persistentvolumeclaims=1 requests.storage=1Gi",
            ),
            ("", "secrets", json!({}), "count/secrets=1 secrets=1"),
            ("apps", "replicasets", json!({}), "count/replicasets.apps=1"),
        ] {
            assert_eq!(shown(group, resource, object), expected);
        }
    }

    #[test]
    fn a_name_says_what_it_counts() {
        for (name, expected) in [
            ("count/widgets.example.com", Some(("example.com", "widgets"))),
            ("count/pods", Some(("", "pods"))),
            ("limits.memory", Some(("", "pods"))),
            ("requests.example.com/gpu", Some(("", "pods"))),
            ("requests.hugepages-2Mi", Some(("", "pods"))),
            ("services.nodeports", Some(("", "services"))),
            ("requests.storage", Some(("", "persistentvolumeclaims"))),
            ("gold.storageclass.storage.k8s.io/requests.storage", Some(("", "persistentvolumeclaims"))),
            ("secrets", Some(("", "secrets"))),
            ("example.com/gpu", None),
        ] {
            assert_eq!(counted(name), expected.map(|(group, resource)| GroupResource::new(group, resource)), "{name}");
        }
    }

    #[test]
    fn scopes_are_about_pods_and_all_of_them_count() {
        let pods = GroupResource::new("", "pods");
        let plain = json!({"spec": {"containers": [{}]}});
        let ends = json!({"spec": {"activeDeadlineSeconds": 60, "priorityClassName": "high",
            "containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        let scopes = |scopes: &[&str]| json!({"spec": {"scopes": scopes}});
        let select = |operator: &str, values: &[&str]| {
            json!({"spec": {"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values},
            ]}}})
        };
        for (quota, of_plain, of_ends) in [
            (scopes(&[]), true, true),
            (scopes(&["BestEffort", "NotTerminating"]), true, false),
            (scopes(&["BestEffort", "Terminating"]), false, false),
            (scopes(&["NotBestEffort", "Terminating"]), false, true),
            (select("In", &["high"]), false, true),
            (select("NotIn", &["high"]), true, false),
            (select("Exists", &[]), false, true),
            (select("DoesNotExist", &[]), true, false),
        ] {
            assert_eq!((is_in_scope(&quota, &pods, &plain), is_in_scope(&quota, &pods, &ends)), (of_plain, of_ends), "{quota}");
        }
        assert!(!is_in_scope(&scopes(&["NotTerminating"]), &GroupResource::new("", "secrets"), &json!({})));
    }

    #[test]
    fn what_is_bounded_has_to_be_stated_by_each_container() {
        let hard = amounts(&json!({"hard": {"limits.memory": "1Gi", "requests.cpu": "1", "pods": "1"}}), "/hard");
        let pod = json!({"spec": {"containers": [
            {"name": "b"}, {"name": "a", "resources": {"requests": {"cpu": "1"}}},
        ]}});
        assert_eq!(unstated(&hard, &pod).as_deref(), Some("must specify limits.memory for: a,b; requests.cpu for: b"));
        assert_eq!(unstated(&Resources::new(), &pod), None);
    }
}
