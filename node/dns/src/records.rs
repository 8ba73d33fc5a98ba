//! What the zone says of one service (sections 2.3 to 2.5 of the specification). Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use hickory_proto::rr::Name;

use crate::views::{Endpoint, ServiceView, SliceView};

/// The names of one service, worked out once for all who ask.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Whether the service's own name is there.
    pub(crate) named: bool,
    pub(crate) alias: Option<Name>,
    pub(crate) addresses: Vec<IpAddr>,
    /// By the first label of their names.
    pub(crate) hosts: HashMap<Box<str>, Vec<IpAddr>>,
    /// Those without a name too.
    pub(crate) ports: Vec<PortRecords>,
    pub(crate) pointers: Vec<(IpAddr, Pointer)>,
}

/// The SRV records of one port.
#[derive(Debug)]
pub(crate) struct PortRecords {
    /// Empty for a port without one.
    pub(crate) name: Box<str>,
    pub(crate) protocol: &'static str,
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) name: Name,
    pub(crate) addresses: Vec<IpAddr>,
}

/// The name of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) name: Name,
    /// Made up of the address: told only where nothing else is known.
    pub(crate) assigned: bool,
}

impl Records {
    /// `name` is the service's own.
    pub(crate) fn of<'a>(name: &Name, service: &ServiceView, slices: impl Iterator<Item = &'a SliceView> + Clone) -> Self {
        if let Some(alias) = &service.alias {
            return Self { named: true, alias: Some(alias.clone()), ..Self::default() };
        }
        let mut records = Self { addresses: service.addresses.clone(), ..Self::default() };
        records.add_hosts(name, service, slices.clone());
        if service.headless {
            records.add_ports_of_endpoints(name, service, slices);
        } else {
            records.add_ports_of_service(name, service);
            let pointer = Pointer { name: name.clone(), assigned: false };
            records.pointers.extend(service.addresses.iter().map(|address| (*address, pointer.clone())));
        }
        records.named = !records.addresses.is_empty();
        records
    }

    /// The endpoints of a headless service each have a name, those of another only where somebody named them.
    fn add_hosts<'a>(&mut self, name: &Name, service: &ServiceView, slices: impl Iterator<Item = &'a SliceView>) {
        let mut known = HashSet::new();
        for endpoint in slices.flat_map(|slice| &slice.endpoints).filter(|endpoint| is_told(service, endpoint)) {
            for address in &endpoint.addresses {
                if service.headless && known.insert(*address) {
                    self.addresses.push(*address);
                }
                let Some(label) = label(endpoint, *address, service.headless) else { continue };
                let Ok(full) = name.prepend_label(label.as_bytes()) else { continue };
                let addresses = self.hosts.entry(label).or_default();
                if !addresses.contains(address) {
                    addresses.push(*address);
                    if service.headless {
                        self.pointers.push((*address, Pointer { name: full, assigned: endpoint.hostname.is_none() }));
                    }
                }
            }
        }
    }

    fn add_ports_of_service(&mut self, name: &Name, service: &ServiceView) {
        let ports = service.ports.iter().filter(|_| !service.addresses.is_empty());
        self.ports = ports
            .map(|port| PortRecords {
                name: port.name.clone(),
                protocol: port.protocol,
                targets: vec![Target { port: port.number, name: name.clone(), addresses: service.addresses.clone() }],
            })
            .collect();
    }

    /// One for each endpoint and port, with the number that the endpoint has for it.
    fn add_ports_of_endpoints<'a>(&mut self, name: &Name, service: &ServiceView, slices: impl Iterator<Item = &'a SliceView>) {
        let mut ports: BTreeMap<(Box<str>, &'static str), Vec<Target>> = BTreeMap::new();
        let mut known = HashSet::new();
        for slice in slices {
            let told: Vec<&Endpoint> = slice.endpoints.iter().filter(|endpoint| is_told(service, endpoint)).collect();
            for port in &slice.ports {
                let targets = ports.entry((port.name.clone(), port.protocol)).or_default();
                for endpoint in &told {
                    let Some(label) = endpoint.addresses.first().and_then(|address| label(endpoint, *address, true)) else {
                        continue;
                    };
                    let Ok(name) = name.prepend_label(label.as_bytes()) else { continue };
                    let addresses = self.hosts.get(&label).cloned().unwrap_or_default();
                    if known.insert((&*port.name, port.protocol, port.number, label)) {
                        targets.push(Target { port: port.number, name, addresses });
                    }
                }
            }
        }
        ports.retain(|_, targets| !targets.is_empty());
        self.ports = ports.into_iter().map(|((name, protocol), targets)| PortRecords { name, protocol, targets }).collect();
    }
}

fn is_told(service: &ServiceView, endpoint: &Endpoint) -> bool {
    endpoint.ready || service.publish_not_ready
}

/// An endpoint's own name, or its address with dashes.
fn label(endpoint: &Endpoint, address: IpAddr, assign: bool) -> Option<Box<str>> {
    let assigned = || address.to_string().replace(['.', ':'], "-").into();
    endpoint.hostname.clone().or_else(|| assign.then(assigned))
}
