//! Which endpoints get traffic (KEP-1669, KEP-2433, KEP-4444). Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::slice::EndpointView;

/// Where the rules are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub node: String,
    /// `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
}

/// An endpoint's address and port.
pub type Backend = (IpAddr, u16);

/// Those of one port that get traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Wherever they are.
    pub all: BTreeSet<Backend>,
    /// On this node.
    pub local: BTreeSet<Backend>,
}

/// Ready ones; where there are none, those that end but still answer.
pub fn choose(endpoints: &[(&EndpointView, u16)], place: &Place) -> Chosen {
    let hints = Hints::of(endpoints, place);
    let of = |is: &dyn Fn(&EndpointView) -> bool| -> BTreeSet<Backend> {
        endpoints.iter().filter(|(endpoint, _)| is(endpoint)).map(|(endpoint, port)| (endpoint.address, *port)).collect()
    };
    let or_ending = |ready: BTreeSet<Backend>, there: &dyn Fn(&EndpointView) -> bool| {
        if ready.is_empty() { of(&|e| e.serving && e.terminating && there(e)) } else { ready }
    };
    let local = |e: &EndpointView| e.node.as_ref() == Some(&place.node);
    Chosen {
        all: or_ending(of(&|e| e.ready && hints.allow(e, place)), &|_| true),
        local: or_ending(of(&|e| e.ready && local(e)), &local),
    }
}

/// Whether endpoints close by are enough.
enum Hints {
    Node,
    Zone,
    Everywhere,
}

impl Hints {
    /// A hint counts only where every ready endpoint has one and some endpoint is for this place.
    fn of(endpoints: &[(&EndpointView, u16)], place: &Place) -> Self {
        let ready = || endpoints.iter().map(|(endpoint, _)| *endpoint).filter(|endpoint| endpoint.ready);
        let hinted = |hints: fn(&EndpointView) -> Option<&Vec<String>>, here: &String| {
            ready().all(|endpoint| hints(endpoint).is_some_and(|hints| !hints.is_empty()))
                && ready().any(|endpoint| hints(endpoint).is_some_and(|hints| hints.contains(here)))
        };
        if hinted(|endpoint| endpoint.for_nodes.as_ref(), &place.node) {
            return Self::Node;
        }
        match &place.zone {
            Some(zone) if hinted(|endpoint| endpoint.for_zones.as_ref(), zone) => Self::Zone,
            _ => Self::Everywhere,
        }
    }

    fn allow(&self, endpoint: &EndpointView, place: &Place) -> bool {
        let contains = |hints: &Option<Vec<String>>, here: &String| hints.as_ref().is_some_and(|hints| hints.contains(here));
        match (self, &place.zone) {
            (Self::Node, _) => contains(&endpoint.for_nodes, &place.node),
            (Self::Zone, Some(zone)) => contains(&endpoint.for_zones, zone),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(last: u8) -> EndpointView {
        EndpointView {
            address: [10, 64, 0, last].into(),
            ready: true,
            serving: true,
            terminating: false,
            node: Some("here".into()),
            for_zones: None,
            for_nodes: None,
        }
    }

    fn last_byte(address: IpAddr) -> u8 {
        if let IpAddr::V4(address) = address { address.octets()[3] } else { 0 }
    }

    fn chosen(endpoints: &[EndpointView]) -> (Vec<u8>, Vec<u8>) {
        let place = Place { node: "here".into(), zone: Some("a".into()) };
        let given: Vec<_> = endpoints.iter().map(|endpoint| (endpoint, 80)).collect();
        let chosen = choose(&given, &place);
        let last = |backends: BTreeSet<Backend>| backends.into_iter().map(|(address, _)| last_byte(address)).collect();
        (last(chosen.all), last(chosen.local))
    }

    #[test]
    fn only_ready_endpoints_get_traffic_while_there_is_one() {
        let ending = |last| EndpointView { ready: false, terminating: true, ..endpoint(last) };
        let starting = EndpointView { ready: false, serving: false, ..endpoint(3) };
        assert_eq!(chosen(&[endpoint(1), ending(2), starting.clone()]), (vec![1], vec![1]));
        assert_eq!(chosen(&[ending(2), starting.clone()]), (vec![2], vec![2]), "those that end still answer");
        assert_eq!(chosen(&[starting]), (vec![], vec![]));
        let elsewhere = EndpointView { node: Some("there".into()), ..endpoint(4) };
        assert_eq!(chosen(&[elsewhere.clone(), ending(2)]), (vec![4], vec![2]), "a node's own that ends is better than none");
        assert_eq!(chosen(&[elsewhere.clone(), elsewhere]), (vec![4], vec![]), "in two slices and yet one");
    }

    #[test]
    fn hints_keep_traffic_close_where_all_endpoints_have_them() {
        let zone = |last, zones: &[&str]| EndpointView {
            for_zones: Some(zones.iter().map(ToString::to_string).collect()),
            ..endpoint(last)
        };
        assert_eq!(chosen(&[zone(1, &["a"]), zone(2, &["b"])]).0, [1]);
        assert_eq!(chosen(&[zone(1, &["a"]), endpoint(2)]).0, [1, 2], "one has none");
        assert_eq!(chosen(&[zone(1, &["b"]), zone(2, &["c"])]).0, [1, 2], "none is for this zone");
        let node = |last, node: &str| EndpointView { for_nodes: Some(vec![node.into()]), ..zone(last, &["a"]) };
        assert_eq!(chosen(&[node(1, "here"), node(2, "there")]).0, [1]);
        assert_eq!(chosen(&[node(1, "there"), node(2, "there")]).0, [1, 2], "no node's own: all of the zone");
    }
}
