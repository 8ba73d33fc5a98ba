//! The Endpoints that a service should have: addresses with the same ports share a subset.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};

use super::super::{ServiceView, pods};
use crate::pod_view::PodView;

/// So many addresses are told of at most.
const MAX_ADDRESSES: usize = 1000;

pub(super) struct Wanted {
    pub(super) subsets: Vec<EndpointSubset>,
    /// Some addresses are left out.
    pub(super) truncated: bool,
}

/// Ports in a form that has an order.
type PortKey = Vec<(String, String, i32, Option<String>)>;

pub(super) fn wanted(service: &ServiceView, pods: &[Arc<PodView>]) -> Wanted {
    let family = service.families().first().copied().unwrap_or(super::super::service_view::Family::V4);
    let mut told: Vec<(bool, EndpointAddress, PortKey)> = Vec::new();
    for pod in pods.iter().filter(|pod| pods::belongs(pod, service.publishes_not_ready())) {
        let Some(ip) = pod.ips.iter().find(|ip| family.has(ip)) else { continue };
        let ports = ports(service, pod);
        // Only where the service itself has no ports is an address without one of use.
        if ports.is_empty() && !service.ports().is_empty() {
            continue;
        }
        let address = EndpointAddress {
            ip: ip.clone(),
            hostname: pods::hostname(pod, service),
            node_name: pods::node_name(pod),
            target_ref: Some(pods::reference(pod)),
        };
        told.push((service.publishes_not_ready() || pod.ready, address, ports));
    }
    // The ready ones first, for when there is no room for all.
    let uid = |address: &EndpointAddress| address.target_ref.as_ref().and_then(|target| target.uid.clone());
    told.sort_by(|(a_ready, a, _), (b_ready, b, _)| b_ready.cmp(a_ready).then(a.ip.cmp(&b.ip)).then_with(|| uid(a).cmp(&uid(b))));
    let truncated = told.len() > MAX_ADDRESSES;
    told.truncate(MAX_ADDRESSES);
    Wanted { subsets: subsets(told), truncated }
}

fn subsets(told: Vec<(bool, EndpointAddress, PortKey)>) -> Vec<EndpointSubset> {
    let mut by_ports: BTreeMap<PortKey, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    for (ready, address, ports) in told {
        let (addresses, not_ready) = by_ports.entry(ports).or_default();
        if ready { addresses.push(address) } else { not_ready.push(address) }
    }
    let some = |addresses: Vec<EndpointAddress>| (!addresses.is_empty()).then_some(addresses);
    let subset = |(ports, (ready, not_ready)): (PortKey, (Vec<EndpointAddress>, Vec<EndpointAddress>))| EndpointSubset {
        addresses: some(ready),
        not_ready_addresses: some(not_ready),
        ports: (!ports.is_empty()).then(|| ports.into_iter().map(port).collect()),
    };
    by_ports.into_iter().map(subset).collect()
}

fn port((name, protocol, port, app_protocol): (String, String, i32, Option<String>)) -> EndpointPort {
    EndpointPort { name: (!name.is_empty()).then_some(name), port, protocol: Some(protocol), app_protocol }
}

fn ports(service: &ServiceView, pod: &PodView) -> PortKey {
    let found = service.ports().iter().filter_map(|port| Some((port, pods::target_port(pod, port)?)));
    let mut ports: PortKey = found
        .map(|(port, number)| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            (port.name.clone().unwrap_or_default(), protocol, number, port.app_protocol.clone())
        })
        .collect();
    ports.sort();
    ports
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(spec: serde_json::Value) -> ServiceView {
        let document =
            json!({"metadata": {"name": "web", "namespace": "default", "uid": "s", "resourceVersion": "1"}, "spec": spec});
        ServiceView::of(&Arc::new(mizzen_api::Object::new(document.to_string().into_bytes(), 1))).expect("decodes")
    }

    fn pod(number: usize, ready: bool) -> Arc<PodView> {
        let ip = format!("10.0.{}.{}", number / 250, number % 250);
        Arc::new(PodView { uid: ip.clone(), ips: vec![ip], ready, ..PodView::default() })
    }

    #[test]
    fn ready_and_other_addresses_of_the_same_ports_share_a_subset() {
        let spec = json!({"selector": {"a": "b"}, "ports": [{"name": "x", "port": 80}, {"name": "a", "port": 81}]});
        let wanted = wanted(&service(spec), &[pod(2, true), pod(1, true), pod(3, false)]);
        assert_eq!(wanted.subsets.len(), 1);
        let ips = |addresses: &Option<Vec<EndpointAddress>>| addresses.iter().flatten().map(|a| a.ip.clone()).collect::<Vec<_>>();
        assert_eq!(ips(&wanted.subsets[0].addresses), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(ips(&wanted.subsets[0].not_ready_addresses), ["10.0.0.3"]);
        let ports: Vec<_> = wanted.subsets[0].ports.iter().flatten().map(|port| port.port).collect();
        assert_eq!(ports, [81, 80]);
    }

    #[test]
    fn a_headless_service_without_ports_has_addresses_all_the_same() {
        let wanted = wanted(&service(json!({"selector": {"a": "b"}, "clusterIP": "None"})), &[pod(1, true)]);
        assert_eq!((wanted.subsets.len(), &wanted.subsets[0].ports), (1, &None));
    }

    #[test]
    fn at_most_a_thousand_addresses_are_told_and_the_ready_ones_first() {
        let pods: Vec<_> = (0..1200).map(|number| pod(number, number >= 600)).collect();
        let wanted = wanted(&service(json!({"selector": {"a": "b"}, "ports": [{"port": 80}]})), &pods);
        let count = |addresses: &Option<Vec<EndpointAddress>>| addresses.as_ref().map_or(0, Vec::len);
        assert!(wanted.truncated);
        assert_eq!((count(&wanted.subsets[0].addresses), count(&wanted.subsets[0].not_ready_addresses)), (600, 400));
    }
}
