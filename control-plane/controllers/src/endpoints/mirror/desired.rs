//! The slices that say the same as Endpoints.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};

use super::super::service_view::Family;
use super::super::slices::plan::Group;
use super::MAX_ENDPOINTS;

pub(super) fn groups(endpoints: &Endpoints) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        for family in [Family::V4, Family::V6] {
            let found = mirrored(subset, family);
            if found.is_empty() {
                continue;
            }
            let (address_type, ports) = (family.address_type(), ports(subset));
            match groups.iter_mut().find(|group| group.address_type == address_type && group.ports == ports) {
                Some(group) => group.endpoints.extend(found),
                None => groups.push(Group { address_type, ports, endpoints: found }),
            }
        }
    }
    groups
}

fn mirrored(subset: &EndpointSubset, family: Family) -> Vec<Endpoint> {
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let others = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
    let all = ready.chain(others).take(MAX_ENDPOINTS).filter(|(address, _)| family.has(&address.ip));
    all.map(|(address, ready)| endpoint(address, ready)).collect()
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|hostname| !hostname.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().flatten();
    ports
        .map(|port| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(port.port),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_and_set_of_ports_has_its_own_slices() {
        let address = |ip: &str| EndpointAddress { ip: ip.into(), ..EndpointAddress::default() };
        let subset = |ready: &[&str], not_ready: &[&str], number| EndpointSubset {
            addresses: Some(ready.iter().map(|ip| address(ip)).collect()),
            not_ready_addresses: Some(not_ready.iter().map(|ip| address(ip)).collect()),
            ports: Some(vec![k8s_openapi::api::core::v1::EndpointPort { port: number, ..Default::default() }]),
        };
        let subsets = vec![
            subset(&["10.0.0.1", "fd00::1"], &["10.0.0.2"], 80),
            subset(&["10.0.0.3"], &[], 81),
            subset(&["10.0.0.4"], &[], 80),
        ];
        let groups = groups(&Endpoints { subsets: Some(subsets), ..Endpoints::default() });
        let shape: Vec<_> = groups.iter().map(|g| (g.address_type, g.ports[0].port, g.endpoints.len())).collect();
        assert_eq!(shape, [("IPv4", Some(80), 3), ("IPv6", Some(80), 1), ("IPv4", Some(81), 1)]);
        let ready: Vec<_> =
            groups[0].endpoints.iter().map(|endpoint| endpoint.conditions.as_ref().and_then(|told| told.ready)).collect();
        assert_eq!(ready, [Some(true), Some(false), Some(true)]);
    }
}
