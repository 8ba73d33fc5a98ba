//! What a Pod says that policies ask for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod};
use mizzen_api::ObjectRef;
use mizzen_network::Protocol;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    pub uid: String,
    pub key: ObjectRef,
    pub labels: BTreeMap<String, String>,
    /// Which it is bound to; empty for none.
    pub node: String,
    /// As the status tells them.
    pub addresses: Vec<IpAddr>,
    pub ports: Vec<NamedPort>,
}

/// A port of a container that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPort {
    pub name: String,
    pub protocol: Protocol,
    pub number: u16,
}

/// Of the API's text; TCP when it says nothing.
pub(crate) fn protocol(text: Option<&str>) -> Protocol {
    match text {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

impl PodView {
    /// `None` for a pod that no policy is about: one in its node's network, and one whose containers have ended for good.
    pub fn of(pod: &Pod) -> Option<Self> {
        let (metadata, spec) = (&pod.metadata, pod.spec.as_ref()?);
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        if spec.host_network == Some(true) || matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let all = status.into_iter().flat_map(|status| status.pod_ips.iter().flatten()).map(|ip| ip.ip.as_str());
        let addresses = all.chain(status.and_then(|status| status.pod_ip.as_deref()));
        let lasting = spec.init_containers.iter().flatten().filter(|init| init.restart_policy.as_deref() == Some("Always"));
        Some(Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            key: ObjectRef::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default()),
            labels: metadata.labels.clone().unwrap_or_default(),
            node: spec.node_name.clone().unwrap_or_default(),
            addresses: addresses.filter_map(|address| address.parse().ok()).collect(),
            ports: spec.containers.iter().chain(lasting).flat_map(named_ports).collect(),
        })
    }
}

fn named_ports(container: &Container) -> impl Iterator<Item = NamedPort> {
    container.ports.iter().flatten().filter_map(|port| {
        Some(NamedPort {
            name: port.name.clone().filter(|name| !name.is_empty())?,
            protocol: protocol(port.protocol.as_deref()),
            number: u16::try_from(port.container_port).ok()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: Value, status: Value) -> Option<PodView> {
        let pod = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec, "status": status});
        PodView::of(&serde_json::from_value(pod).expect("is a pod"))
    }

    #[test]
    fn pods_of_the_nodes_network_and_those_that_have_ended_are_nobody() {
        assert_eq!(of(json!({"containers": [], "hostNetwork": true}), json!({"podIP": "10.0.0.1"})), None);
        assert_eq!(of(json!({"containers": []}), json!({"phase": "Failed", "podIP": "10.0.0.1"})), None);
        assert!(of(json!({"containers": []}), json!({"phase": "Running"})).is_some());
    }

    #[test]
    fn named_ports_are_those_of_containers_that_last() {
        let ports = |number: i32| json!([{"name": "http", "containerPort": number}, {"containerPort": 9}]);
        let spec = json!({
            "containers": [{"name": "a", "ports": ports(80)}],
            "initContainers": [
                {"name": "b", "ports": ports(81), "restartPolicy": "Always"}, {"name": "c", "ports": ports(82)},
            ],
        });
        let view = of(spec, json!({"podIPs": [{"ip": "fd00::1"}, {"ip": "10.0.0.1"}]})).expect("counts");
        assert_eq!(view.ports.iter().map(|port| port.number).collect::<Vec<_>>(), [80, 81]);
        assert_eq!(view.addresses, ["fd00::1", "10.0.0.1"].map(|ip| ip.parse::<IpAddr>().expect("an address")));
    }
}
