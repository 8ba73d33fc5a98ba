//! The downward API: what a pod may know of itself (`fieldRef`, `resourceFieldRef`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, ResourceFieldSelector};
use mizzen_api::quantity::Quantity;

use crate::{PodContext, VolumeError};

/// The value of `fieldRef`.
///
/// # Errors
/// [`VolumeError::Field`] for a path that the downward API does not have.
pub fn field(context: &PodContext<'_>, selector: &ObjectFieldSelector) -> Result<String, VolumeError> {
    let path = selector.field_path.as_str();
    let metadata = &context.pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let entries = match map {
            "metadata.labels" => metadata.labels.as_ref(),
            "metadata.annotations" => metadata.annotations.as_ref(),
            _ => return Err(unknown(path)),
        };
        return Ok(entries.and_then(|entries| entries.get(key)).cloned().unwrap_or_default());
    }
    let joined = |ips: &[std::net::IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let first = |ips: &[std::net::IpAddr]| ips.first().map(ToString::to_string).unwrap_or_default();
    Ok(match path {
        "metadata.name" => context.name().to_owned(),
        "metadata.namespace" => context.namespace().to_owned(),
        "metadata.uid" => context.uid().to_owned(),
        "metadata.labels" => lines(metadata.labels.as_ref()),
        "metadata.annotations" => lines(metadata.annotations.as_ref()),
        "spec.nodeName" => context.node_name.to_owned(),
        "spec.serviceAccountName" => context.service_account().to_owned(),
        "status.hostIP" => first(context.host_ips),
        "status.hostIPs" => joined(context.host_ips),
        "status.podIP" => first(context.pod_ips),
        "status.podIPs" => joined(context.pod_ips),
        _ => return Err(unknown(path)),
    })
}

/// The value of `resourceFieldRef`: the container's limit or request, divided and rounded up. A missing limit is what
/// the node has, a missing request is nothing.
///
/// # Errors
/// [`VolumeError::Field`] for an unknown container or resource.
pub fn resource(
    context: &PodContext<'_>,
    selector: &ResourceFieldSelector,
    own: Option<&Container>,
) -> Result<String, VolumeError> {
    let path = selector.resource.as_str();
    let named = selector.container_name.as_deref().filter(|name| !name.is_empty());
    let spec = context.pod.spec.as_ref();
    let containers = || spec.into_iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
    let container = match named {
        Some(name) => containers().find(|container| container.name == name),
        None => own,
    }
    .ok_or_else(|| VolumeError::Field { field: path.to_owned(), why: "no such container".into() })?;
    let resources = container.resources.as_ref();
    let (list, name, missing) = match path.split_once('.') {
        Some(("limits", name)) => (resources.and_then(|r| r.limits.as_ref()), name, true),
        Some(("requests", name)) => (resources.and_then(|r| r.requests.as_ref()), name, false),
        _ => return Err(unknown(path)),
    };
    let bad = |what: &str| VolumeError::Field { field: path.to_owned(), why: format!("{what} is no quantity") };
    let amount = match list.and_then(|list| list.get(name)) {
        Some(quantity) => quantity.0.parse().map_err(|_| bad(&quantity.0))?,
        None if missing && name == "cpu" => Quantity::from_milli(context.allocatable_cpu),
        None if missing && name == "memory" => Quantity::from_bytes(context.allocatable_memory),
        None => Quantity::ZERO,
    };
    let divisor = match selector.divisor.as_ref().map(|quantity| quantity.0.as_str()) {
        None | Some("" | "0") => Quantity::from_units(1),
        Some(text) => text.parse().map_err(|_| bad(text))?,
    };
    let ceil_div = |value: i64, by: i64| value.div_euclid(by.max(1)) + i64::from(value.rem_euclid(by.max(1)) != 0);
    Ok(match name {
        "cpu" => ceil_div(amount.milli_value(), divisor.milli_value()),
        _ => ceil_div(amount.value(), divisor.value()),
    }
    .to_string())
}

fn unknown(path: &str) -> VolumeError {
    VolumeError::Field { field: path.to_owned(), why: "the downward API has no such field".into() }
}

/// `metadata.labels['key']` into map and key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// `key="value"` lines with Go's quoting of the value.
fn lines(entries: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = entries.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_context(check: impl FnOnce(&PodContext<'_>)) {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "1", "b": "say \"x\""}},
            "spec": {"serviceAccountName": "sa", "containers": [
                {"name": "c", "resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "100Mi"}}}]}
        }))
        .expect("is a pod");
        let ips = ["10.0.0.7".parse().expect("is an address")];
        check(&PodContext {
            pod: &pod,
            node_name: "node",
            host_ips: &[],
            pod_ips: &ips,
            allocatable_cpu: 4000,
            allocatable_memory: 1 << 30,
            reader: None,
        });
    }

    #[test]
    fn fields_come_from_the_pod_and_the_node() {
        with_context(|context| {
            let get = |path: &str| field(context, &ObjectFieldSelector { field_path: path.into(), ..Default::default() });
            for (path, value) in [
                ("metadata.name", "p"),
                ("metadata.labels['a']", "1"),
                ("metadata.labels['none']", ""),
                ("metadata.labels", "a=\"1\"\nb=\"say \\\"x\\\"\""),
                ("spec.nodeName", "node"),
                ("spec.serviceAccountName", "sa"),
                ("status.podIP", "10.0.0.7"),
            ] {
                assert_eq!(get(path).expect(path), value, "{path}");
            }
            assert!(get("spec.containers").is_err());
        });
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        with_context(|context| {
            let own = context.pod.spec.as_ref().and_then(|spec| spec.containers.first());
            let get = |path: &str, divisor: &str| {
                let divisor = Some(k8s_openapi::apimachinery::pkg::api::resource::Quantity(divisor.into()));
                resource(context, &ResourceFieldSelector { resource: path.into(), divisor, ..Default::default() }, own)
            };
            for (path, divisor, value) in [
                ("limits.cpu", "1", "2"),
                ("limits.cpu", "1m", "1500"),
                ("limits.memory", "1Mi", "1024"),
                ("requests.memory", "1Ki", "102400"),
                ("requests.cpu", "1", "0"),
            ] {
                assert_eq!(get(path, divisor).expect(path), value, "{path}/{divisor}");
            }
        });
    }
}
