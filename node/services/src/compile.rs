//! From a Service and its EndpointSlices to the elements of the table. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mizzen_network::{Family, Protocol, Subnet};

use crate::chains::{Door, Pick, Range, Way, class};
use crate::endpoints::{Backend, Chosen, Place, choose};
use crate::model::{Elements, Part};
use crate::seats::{identity, seat};
use crate::service::{ServicePort, ServiceView};
use crate::slice::{EndpointView, SliceView};

/// More than this many endpoints of one port get no traffic.
const ENDPOINTS: usize = 65_535;

/// What a compilation depends on beside the objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub place: Place,
    pub bridge: String,
    /// Of the family that is compiled.
    pub pods: Subnet,
    /// The addresses of Wasm pods.
    pub wasm: BTreeSet<IpAddr>,
    /// Where services have their addresses.
    pub service_ranges: Vec<Subnet>,
}

impl Node {
    fn of_family<'a>(&self, addresses: &'a [IpAddr]) -> impl Iterator<Item = &'a IpAddr> + use<'a> {
        let family = self.pods.family();
        addresses.iter().filter(move |address| Family::of(**address) == family)
    }
}

/// Who has which number, by port and range.
pub type Seats = BTreeMap<(Protocol, u16, Range), Vec<Backend>>;

/// One service, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    pub elements: Elements,
    pub seats: Seats,
    /// Endpoints of the node's own that get traffic.
    pub local: usize,
}

/// What of the service is of the node's family; nothing where it has no address of that. `before` is who had which number; those
/// who stay keep theirs.
pub fn compile(service: &ServiceView, slices: &[Arc<SliceView>], node: &Node, before: &Seats) -> Compiled {
    let mut compiled = Compiled::default();
    if service.foreign || service.ports.is_empty() || node.of_family(&service.cluster_ips).next().is_none() {
        return compiled;
    }
    let mut local = BTreeSet::new();
    for ip in node.of_family(&service.cluster_ips) {
        compiled.elements.insert((Part::ClusterIps, ip.to_string()), String::new());
    }
    for port in &service.ports {
        let chosen = choose(&endpoints(port, slices, node.pods.family()), &node.place);
        local.extend(chosen.local.iter().map(|(address, _)| *address));
        let seated = |range, wanted: &BTreeSet<Backend>| {
            let known = before.get(&(port.protocol, port.port, range)).map(Vec::as_slice).unwrap_or_default();
            let mut seats = seat(known, wanted);
            seats.truncate(ENDPOINTS);
            seats
        };
        let (all, own) = (seated(Range::All, &chosen.all), seated(Range::Local, &chosen.local));
        let mut table =
            PortTable { service, port, node, chosen: &chosen, all: &all, own: &own, elements: &mut compiled.elements };
        table.fill();
        compiled.seats.insert((port.protocol, port.port, Range::All), all);
        compiled.seats.insert((port.protocol, port.port, Range::Local), own);
    }
    compiled.local = local.len();
    compiled
}

/// The ranges of services, from which nothing but services is to be reached.
pub fn ranges(service_ranges: &[Subnet], family: Family) -> Elements {
    let ranges = apart(service_ranges, family).into_iter();
    ranges.map(|range| ((Part::ServiceRanges, range), String::new())).collect()
}

/// The endpoints that a service's port is for, each with its own port. A port's name is the slice's too.
fn endpoints<'a>(port: &ServicePort, slices: &'a [Arc<SliceView>], family: Family) -> Vec<(&'a EndpointView, u16)> {
    let of = |slice: &'a Arc<SliceView>| {
        let theirs = slice.ports.iter().find(|theirs| theirs.name == port.name && theirs.protocol == port.protocol)?;
        Some(slice.endpoints.iter().map(|endpoint| (endpoint, theirs.port)))
    };
    slices.iter().filter(|slice| slice.family == family).filter_map(of).flatten().collect()
}

/// What is being made of one port.
struct PortTable<'a> {
    service: &'a ServiceView,
    port: &'a ServicePort,
    node: &'a Node,
    chosen: &'a Chosen,
    all: &'a [Backend],
    own: &'a [Backend],
    elements: &'a mut Elements,
}

impl PortTable<'_> {
    fn fill(&mut self) {
        let (service, port) = (self.service, self.port);
        let inside = |address: &IpAddr| format!("{address} . {} . {}", protocol(port.protocol), port.port);
        for ip in self.node.of_family(&service.cluster_ips) {
            let key = inside(ip);
            if service.internal_local {
                self.lead(Door::Address, &key, self.pick(Door::Address, Range::Local).map(Way::Pick), false);
            } else {
                self.lead(Door::Address, &key, self.pick(Door::Address, Range::All).map(Way::Pick), false);
            }
        }
        for ip in self.node.of_family(&service.external_ips) {
            self.lead(Door::Address, &inside(ip), self.outer_way(Door::Address), false);
        }
        for ip in self.node.of_family(&service.balancer_ips) {
            let key = inside(ip);
            self.lead(Door::Address, &key, self.outer_way(Door::Address), service.sources.is_some());
            for range in service.sources.iter().flat_map(|sources| apart(sources, self.node.pods.family())) {
                self.elements.insert((Part::SourceRanges, format!("{key} . {range}")), String::new());
            }
        }
        if let Some(number) = port.node_port {
            let key = format!("{} . {number}", protocol(port.protocol));
            self.lead(Door::NodePort, &key, self.outer_way(Door::NodePort), false);
        }
        self.veil();
    }

    fn pick(&self, door: Door, range: Range) -> Option<Pick> {
        let count = if range == Range::All { self.all.len() } else { self.own.len() };
        (count > 0).then_some(Pick { door, range, count, sticky: self.service.sticky })
    }

    fn outer_way(&self, door: Door) -> Option<Way> {
        let pick = self.pick(door, Range::All)?;
        Some(if self.service.external_local { Way::OutsideLocal(pick, self.own.len()) } else { Way::Outside(pick) })
    }

    /// Leads what asks for `key`.
    fn lead(&mut self, door: Door, key: &str, way: Option<Way>, guarded: bool) {
        let (leads, refuses) = match door {
            Door::Address => (Part::ServiceIps, Part::Refused),
            Door::NodePort => (Part::NodePorts, Part::RefusedPorts),
        };
        let Some(way) = way else {
            // Endpoints elsewhere, to which the service's policy does not lead from here.
            let chain = if self.chosen.all.is_empty() { "refuse" } else { "discard" };
            self.elements.insert((refuses, key.to_owned()), format!("goto {chain}"));
            return;
        };
        for (name, rules) in way.chains(guarded, &self.node.bridge, self.node.pods.family()) {
            self.elements.insert((Part::Chain, name), rules.join("\n"));
        }
        self.elements.insert((leads, key.to_owned()), format!("goto {}", way.name(guarded)));
        let ranges: &[Range] = match way {
            Way::OutsideLocal(..) => &[Range::All, Range::Local],
            Way::Pick(Pick { range: Range::Local, .. }) => &[Range::Local],
            Way::Pick(_) | Way::Outside(_) => &[Range::All],
        };
        for range in ranges {
            self.number(door, key, *range);
        }
    }

    /// Says whose the numbers are.
    fn number(&mut self, door: Door, key: &str, range: Range) {
        let (endpoints, choices) = match door {
            Door::Address => (Part::Endpoints, Part::Choices),
            Door::NodePort => (Part::NodeEndpoints, Part::NodeChoices),
        };
        let seats = if range == Range::All { self.all } else { self.own };
        let is = |(address, port): Backend| format!("{address} . {port}");
        if self.service.sticky.is_none() {
            for (number, backend) in seats.iter().enumerate() {
                self.elements.insert((endpoints, format!("{key} . {}", range.seat(number))), is(*backend));
            }
            return;
        }
        let identities = identities(&self.chosen.all, &self.chosen.local);
        for (number, backend) in seats.iter().enumerate() {
            let Some(identity) = identities.get(backend).map(|identity| class(*identity)) else { continue };
            self.elements.insert((endpoints, format!("{key} . {identity}")), is(*backend));
            self.elements.insert((choices, format!("{key} . {}", range.seat(number))), identity);
        }
    }

    /// Whose connections to this node's endpoints have to come from the bridge's address: an endpoint's own, which would answer
    /// itself and never by this node, and among Wasm pods all, as they share a namespace.
    fn veil(&mut self) {
        let gateway = self.node.pods.gateway();
        // Pods on networks of plugins have addresses of other ranges.
        let local: BTreeSet<_> = self.chosen.local.iter().map(|(address, _)| *address).collect();
        let is_here = |address: &IpAddr| {
            if self.node.pods.contains(*address) { *address != gateway } else { local.contains(address) }
        };
        let backends = self.all.iter().chain(self.own).map(|(address, _)| *address);
        for address in backends.filter(is_here) {
            self.elements.insert((Part::Hairpin, format!("{address} . {address}")), String::new());
            if self.node.wasm.contains(&address) {
                self.elements.insert((Part::Wasm, address.to_string()), String::new());
            }
        }
    }
}

fn identities(all: &BTreeSet<Backend>, local: &BTreeSet<Backend>) -> BTreeMap<Backend, u32> {
    let mut taken = BTreeSet::new();
    let mut identities = BTreeMap::new();
    for backend in all.union(local) {
        let identity = identity(*backend, &taken);
        taken.insert(identity);
        identities.insert(*backend, identity);
    }
    identities
}

/// Those of a family, without the ranges that lie in others: no two elements may overlap. As nftables lists them.
fn apart(ranges: &[Subnet], family: Family) -> Vec<String> {
    let is_inner = |range: &Subnet| ranges.iter().any(|other| other.prefix() < range.prefix() && other.contains(range.network()));
    let outer: BTreeSet<String> = ranges
        .iter()
        .filter(|range| range.family() == family && !is_inner(range))
        .map(|range| if range.prefix() == family.bits() { range.network().to_string() } else { range.to_string() })
        .collect();
    outer.into_iter().collect()
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

#[cfg(test)]
mod tests {
    use mizzen_api::ObjectRef;

    use super::*;
    use crate::slice::SlicePort;

    fn node() -> Node {
        Node {
            place: Place { node: "here".into(), zone: None },
            bridge: "mzx".into(),
            pods: "10.64.3.0/24".parse().expect("a range"),
            wasm: BTreeSet::from([IpAddr::from([10, 64, 3, 9])]),
            service_ranges: Vec::new(),
        }
    }

    fn service() -> ServiceView {
        ServiceView {
            key: ObjectRef::new("n", "s"),
            cluster_ip: "10.96.0.7".into(),
            cluster_ips: vec![IpAddr::from([10, 96, 0, 7])],
            ports: vec![ServicePort { name: "http".into(), port: 80, ..ServicePort::default() }],
            ..ServiceView::default()
        }
    }

    /// Each endpoint by its address, and whether it is on this node.
    fn slices(endpoints: &[(&str, bool)]) -> Vec<Arc<SliceView>> {
        Family::ALL.into_iter().map(|family| Arc::new(slice(family, endpoints))).collect()
    }

    fn slice(family: Family, endpoints: &[(&str, bool)]) -> SliceView {
        let is_of_it = |(address, _): &&(&str, bool)| address.contains(':') == (family == Family::V6);
        let endpoint = |(address, here): &(&str, bool)| EndpointView {
            address: address.parse().expect("an address"),
            ready: true,
            serving: true,
            terminating: false,
            node: Some(if *here { "here" } else { "there" }.into()),
            for_zones: None,
            for_nodes: None,
        };
        let ports = vec![
            SlicePort { name: "http".into(), port: 8080, ..SlicePort::default() },
            SlicePort { name: "other".into(), port: 9, ..SlicePort::default() },
        ];
        let endpoints = endpoints.iter().filter(is_of_it).map(endpoint).collect();
        SliceView { service: ObjectRef::new("n", "s"), family, ports, endpoints }
    }

    fn compiled(service: &ServiceView, endpoints: &[(&str, bool)]) -> Elements {
        compile(service, &slices(endpoints), &node(), &Seats::default()).elements
    }

    /// Those of a part, a line each.
    fn of(elements: &Elements, part: Part) -> Vec<String> {
        let of = elements.iter().filter(|((of, _), _)| *of == part);
        of.map(|((_, key), value)| if value.is_empty() { key.clone() } else { format!("{key} : {value}") }).collect()
    }

    #[test]
    fn a_service_leads_to_its_endpoints_by_number() {
        let elements = compiled(&service(), &[("10.64.3.4", true), ("10.64.9.9", false)]);
        assert_eq!(of(&elements, Part::ServiceIps), ["10.96.0.7 . tcp . 80 : goto a1_2"]);
        assert_eq!(
            of(&elements, Part::Endpoints),
            ["10.96.0.7 . tcp . 80 . 1:0 : 10.64.3.4 . 8080", "10.96.0.7 . tcp . 80 . 1:1 : 10.64.9.9 . 8080"]
        );
        assert_eq!(of(&elements, Part::Hairpin), ["10.64.3.4 . 10.64.3.4"], "only this node's");
        assert_eq!(of(&elements, Part::ClusterIps), ["10.96.0.7"]);
        assert_eq!(of(&elements, Part::Wasm), [""; 0]);
    }

    #[test]
    fn one_endpoint_more_or_less_changes_its_own_elements_and_the_count() {
        let first = compile(
            &service(),
            &slices(&[("10.64.3.4", true), ("10.64.3.5", true), ("10.64.3.9", true)]),
            &node(),
            &Seats::default(),
        );
        let fewer = compile(&service(), &slices(&[("10.64.3.5", true), ("10.64.3.9", true)]), &node(), &first.seats);
        let changes = crate::model::difference(&first.elements, &fewer.elements);
        let changed: Vec<_> = changes.keys().map(|(part, key)| format!("{} {key}", part.name())).collect();
        let expected = [
            "chain a1_2",
            "chain a1_3",
            "service_ips 10.96.0.7 . tcp . 80",
            "endpoints 10.96.0.7 . tcp . 80 . 1:0",
            "endpoints 10.96.0.7 . tcp . 80 . 1:2",
            "hairpin 10.64.3.4 . 10.64.3.4",
        ];
        assert_eq!(changed, expected, "the last has taken the number of who left");
        assert_eq!((first.local, fewer.local, of(&fewer.elements, Part::Wasm)), (3, 2, vec!["10.64.3.9".to_owned()]));
    }

    #[test]
    fn without_endpoints_a_service_refuses_and_without_any_here_a_local_one_is_silent() {
        let local = ServiceView { internal_local: true, ..service() };
        assert_eq!(of(&compiled(&service(), &[]), Part::Refused), ["10.96.0.7 . tcp . 80 : goto refuse"]);
        assert_eq!(of(&compiled(&local, &[("10.64.9.9", false)]), Part::Refused), ["10.96.0.7 . tcp . 80 : goto discard"]);
        let elements = compiled(&local, &[("10.64.9.9", false), ("10.64.3.4", true)]);
        assert_eq!(of(&elements, Part::ServiceIps), ["10.96.0.7 . tcp . 80 : goto a2_1"]);
        assert_eq!(of(&elements, Part::Endpoints), ["10.96.0.7 . tcp . 80 . 2:0 : 10.64.3.4 . 8080"]);
    }

    #[test]
    fn from_outside_a_node_port_leads_everywhere_or_to_the_nodes_own() {
        let port = ServicePort { name: "http".into(), port: 80, node_port: Some(30_080), ..ServicePort::default() };
        let cluster = ServiceView { ports: vec![port], ..service() };
        let endpoints = [("10.64.3.4", true), ("10.64.9.9", false)];
        let elements = compiled(&cluster, &endpoints);
        assert_eq!(of(&elements, Part::NodePorts), ["tcp . 30080 : goto out_n1_2"]);
        assert_eq!(of(&elements, Part::NodeEndpoints).len(), 2);
        let local = ServiceView { external_local: true, ..cluster.clone() };
        let elements = compiled(&local, &endpoints);
        assert_eq!(of(&elements, Part::NodePorts), ["tcp . 30080 : goto own1_n1_2"]);
        assert_eq!(of(&elements, Part::NodeEndpoints)[2], "tcp . 30080 . 2:0 : 10.64.3.4 . 8080");
        assert_eq!(of(&compiled(&local, &[("10.64.9.9", false)]), Part::NodePorts), ["tcp . 30080 : goto own0_n1_1"]);
        assert_eq!(of(&compiled(&cluster, &[]), Part::RefusedPorts), ["tcp . 30080 : goto refuse"]);
    }

    #[test]
    fn clients_that_stay_are_led_by_an_identity() {
        let sticky = ServiceView { sticky: Some(60), ..service() };
        let elements = compiled(&sticky, &[("10.64.3.4", true), ("10.64.3.5", true)]);
        assert_eq!(of(&elements, Part::ServiceIps), ["10.96.0.7 . tcp . 80 : goto a1_2_60s"]);
        let choices = of(&elements, Part::Choices);
        let (_, identity) = choices[0].split_once(" : ").expect("a value");
        assert!(of(&elements, Part::Endpoints).contains(&format!("10.96.0.7 . tcp . 80 . {identity} : 10.64.3.4 . 8080")));
        assert_eq!((choices.len(), of(&elements, Part::Endpoints).len()), (2, 2));
        let six = Node { pods: "fd00:0:0:3::/64".parse().expect("a range"), ..node() };
        let sticky = ServiceView { cluster_ips: vec!["fd00::7".parse().expect("an address")], ..sticky };
        let elements = compile(&sticky, &slices(&[("fd00:0:0:3::4", true)]), &six, &Seats::default()).elements;
        assert_eq!(of(&elements, Part::ServiceIps), ["fd00::7 . tcp . 80 : goto a1_1_60s"]);
        let rules = &elements[&(Part::Chain, "a1_1_60s".into())];
        assert!(rules.contains("update @affinity { jhash ip6 saddr . ip6 daddr . "), "{rules}");
    }

    #[test]
    fn ranges_of_services_are_of_the_nodes_family_and_apart() {
        let service_ranges =
            ["10.96.0.0/16", "fd00::/108", "10.96.4.0/24", "10.99.0.0/24"].map(|range| range.parse().expect("a range"));
        let elements = ranges(&service_ranges, node().pods.family());
        assert_eq!(of(&elements, Part::ServiceRanges), ["10.96.0.0/16", "10.99.0.0/24"]);
    }

    #[test]
    fn who_may_come_by_a_load_balancer_is_a_set_of_ranges_apart() {
        let sources = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32"].map(|range| range.parse().expect("a range"));
        let balanced =
            ServiceView { balancer_ips: vec![IpAddr::from([192, 0, 2, 9])], sources: Some(sources.to_vec()), ..service() };
        let elements = compiled(&balanced, &[("10.64.3.4", true)]);
        assert!(of(&elements, Part::ServiceIps).contains(&"192.0.2.9 . tcp . 80 : goto guard_out_a1_1".to_owned()));
        assert_eq!(of(&elements, Part::SourceRanges), ["192.0.2.9 . tcp . 80 . 10.0.0.0/8", "192.0.2.9 . tcp . 80 . 192.0.2.7"]);
    }

    #[test]
    fn each_family_has_what_is_of_it_and_nothing_where_the_service_has_no_address_of_it() {
        let six = Node { pods: "fd00:0:0:3::/64".parse().expect("a range"), ..node() };
        let ips = ["10.96.0.7", "fd00:0:0:ffff::7"].map(|ip| ip.parse().expect("an address"));
        let port = ServicePort { name: "http".into(), port: 80, node_port: Some(30_080), ..ServicePort::default() };
        let both = ServiceView { cluster_ips: ips.to_vec(), ports: vec![port.clone()], ..service() };
        let slices = slices(&[("10.64.3.4", true), ("fd00:0:0:3::4", true), ("fd00:0:0:9::9", false)]);
        let of_six = compile(&both, &slices, &six, &Seats::default());
        assert_eq!(of(&of_six.elements, Part::ServiceIps), ["fd00:0:0:ffff::7 . tcp . 80 : goto a1_2"]);
        assert_eq!(of(&of_six.elements, Part::NodeEndpoints)[0], "tcp . 30080 . 1:0 : fd00:0:0:3::4 . 8080");
        assert_eq!(of(&of_six.elements, Part::Hairpin), ["fd00:0:0:3::4 . fd00:0:0:3::4"]);
        let rules = &of_six.elements[&(Part::Chain, "a1_2".into())];
        assert!(rules.contains("dnat ip6 to ip6 daddr . meta l4proto"), "{rules}");
        assert_eq!(
            of(&compile(&both, &slices, &node(), &Seats::default()).elements, Part::ServiceIps),
            ["10.96.0.7 . tcp . 80 : goto a1_1"]
        );
        let single = ServiceView { ports: vec![port], ..service() };
        assert_eq!(compile(&single, &slices, &six, &Seats::default()), Compiled::default(), "its node port neither");
    }

    #[test]
    fn a_service_that_another_proxy_serves_has_nothing() {
        assert_eq!(compiled(&ServiceView { foreign: true, ..service() }, &[("10.64.3.4", true)]), Elements::new());
    }
}
