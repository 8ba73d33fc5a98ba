//! The endpoints that a service should have.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone};

use super::super::service_view::Family;
use super::super::{ServiceView, pods};
use super::plan::Group;
use crate::pod_view::PodView;

/// The endpoints by the ports they have. Each family has at least one group, if an empty one, so that those who look
/// see that there is nothing to wait for.
pub(super) fn groups(service: &ServiceView, pods: &[Arc<PodView>], zone_of: impl Fn(&str) -> Option<String>) -> Vec<Group> {
    let mut groups = Vec::new();
    for family in service.families() {
        let first = groups.len();
        for pod in pods.iter().filter(|pod| pods::belongs(pod, true)) {
            let addresses: Vec<String> = pod.ips.iter().filter(|ip| family.has(ip)).cloned().collect();
            if !addresses.is_empty() {
                let endpoint = endpoint(service, pod, addresses, zone_of(&pod.node));
                add(&mut groups, first, family, ports(service, pod), endpoint);
            }
        }
        if groups.len() == first {
            groups.push(Group { address_type: family.address_type(), ports: Vec::new(), endpoints: Vec::new() });
        }
    }
    groups
}

/// Adds to the group of these ports among those after `first`, which are of the same family.
fn add(groups: &mut Vec<Group>, first: usize, family: Family, ports: Vec<EndpointPort>, endpoint: Endpoint) {
    match groups[first..].iter_mut().find(|group| group.ports == ports) {
        Some(group) => group.endpoints.push(endpoint),
        None => groups.push(Group { address_type: family.address_type(), ports, endpoints: vec![endpoint] }),
    }
}

/// A port that the pod does not have by that name is left out.
fn ports(service: &ServiceView, pod: &PodView) -> Vec<EndpointPort> {
    let found = service.ports().iter().filter_map(|port| Some((port, pods::target_port(pod, port)?)));
    found
        .map(|(port, number)| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(number),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

fn endpoint(service: &ServiceView, pod: &PodView, addresses: Vec<String>, zone: Option<String>) -> Endpoint {
    let ready = service.publishes_not_ready() || (pod.ready && !pod.terminating);
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions { ready: Some(ready), serving: Some(pod.ready), terminating: Some(pod.terminating) }),
        hints: hints(service, pod, zone.as_deref()).filter(|_| ready),
        hostname: pods::hostname(pod, service),
        node_name: pods::node_name(pod),
        target_ref: Some(pods::reference(pod)),
        zone,
        ..Endpoint::default()
    }
}

/// Who should rather use the endpoint (KEP-4444, KEP-3015).
fn hints(service: &ServiceView, pod: &PodView, zone: Option<&str>) -> Option<EndpointHints> {
    let distribution = service.spec.traffic_distribution.as_deref()?;
    if !matches!(distribution, "PreferClose" | "PreferSameZone" | "PreferSameNode") {
        return None;
    }
    let for_nodes = (distribution == "PreferSameNode").then(|| pods::node_name(pod)).flatten();
    let hints = EndpointHints {
        for_nodes: for_nodes.map(|name| vec![ForNode { name }]),
        for_zones: zone.map(|name| vec![ForZone { name: name.to_owned() }]),
    };
    (hints != EndpointHints::default()).then_some(hints)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pod_view::NamedPort;

    fn service(spec: Value) -> ServiceView {
        let document =
            json!({"metadata": {"name": "web", "namespace": "default", "uid": "s", "resourceVersion": "1"}, "spec": spec});
        ServiceView::of(&Arc::new(mizzen_api::Object::new(document.to_string().into_bytes(), 1))).expect("decodes")
    }

    fn pod(ip: &str, ready: bool, terminating: bool) -> PodView {
        PodView { uid: ip.into(), ips: vec![ip.into()], node: "n1".into(), ready, terminating, ..PodView::default() }
    }

    #[test]
    fn a_pod_is_ready_serving_and_terminating_as_it_says_unless_the_service_publishes_all() {
        let pods = [pod("10.0.0.1", true, false), pod("10.0.0.2", false, false), pod("10.0.0.3", true, true)].map(Arc::new);
        for (publish, ready) in [(false, [true, false, false]), (true, [true, true, true])] {
            let spec = json!({"selector": {"app": "web"}, "publishNotReadyAddresses": publish, "ports": [{"port": 80}]});
            let groups = groups(&service(spec), &pods, |_| Some("z".into()));
            let told: Vec<_> = groups[0].endpoints.iter().filter_map(|endpoint| endpoint.conditions.clone()).collect();
            assert_eq!(told.iter().map(|told| told.ready).collect::<Vec<_>>(), ready.map(Some));
            assert_eq!(told.iter().map(|told| told.serving).collect::<Vec<_>>(), [Some(true), Some(false), Some(true)]);
            assert_eq!(told.iter().map(|told| told.terminating).collect::<Vec<_>>(), [Some(false), Some(false), Some(true)]);
            assert_eq!(groups[0].endpoints[0].zone.as_deref(), Some("z"));
        }
    }

    #[test]
    fn pods_are_grouped_by_what_a_named_port_means_to_them() {
        let named = |ip: &str, port| PodView {
            named_ports: vec![NamedPort { name: "http".into(), protocol: "TCP".into(), port }],
            ..pod(ip, true, false)
        };
        let pods =
            [named("10.0.0.1", 80), named("10.0.0.2", 8080), named("10.0.0.3", 80), pod("10.0.0.4", true, false)].map(Arc::new);
        let groups =
            groups(&service(json!({"selector": {"a": "b"}, "ports": [{"port": 1, "targetPort": "http"}]})), &pods, |_| None);
        let shape: Vec<_> =
            groups.iter().map(|group| (group.ports.first().and_then(|port| port.port), group.endpoints.len())).collect();
        assert_eq!(shape, [(Some(80), 2), (Some(8080), 1), (None, 1)]);
    }

    #[test]
    fn a_family_without_endpoints_has_an_empty_group() {
        let spec = json!({"selector": {"a": "b"}, "ipFamilies": ["IPv4", "IPv6"], "ports": [{"port": 80}]});
        let groups = groups(&service(spec), &[Arc::new(pod("10.0.0.1", true, false))], |_| None);
        let shape: Vec<_> = groups.iter().map(|group| (group.address_type, group.endpoints.len())).collect();
        assert_eq!(shape, [("IPv4", 1), ("IPv6", 0)]);
    }

    #[test]
    fn traffic_is_kept_near_where_the_service_asks_for_it() {
        let spec = json!({"selector": {"a": "b"}, "trafficDistribution": "PreferSameNode", "ports": [{"port": 80}]});
        let pods = [Arc::new(pod("10.0.0.1", true, false)), Arc::new(pod("10.0.0.2", false, false))];
        let groups = groups(&service(spec), &pods, |_| Some("z".into()));
        let hints = groups[0].endpoints[0].hints.clone().expect("hints");
        assert_eq!(
            (hints.for_nodes.expect("nodes")[0].name.as_str(), hints.for_zones.expect("zones")[0].name.as_str()),
            ("n1", "z")
        );
        assert_eq!(groups[0].endpoints[1].hints, None);
    }
}
