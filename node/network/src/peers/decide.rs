//! Which way leads to which node, and what that changes in the kernel. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::{Peer, PeerBackend, TUNNEL_OVERHEAD};
use crate::links::mac;
use crate::{Family, Subnet};

/// What is asked for.
pub(crate) struct Wishes<'a> {
    /// The node's own blocks.
    pub(crate) own: &'a [Subnet],
    pub(crate) backend: PeerBackend,
    pub(crate) peers: &'a [Peer],
}

/// A route of the machine's main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    pub(crate) to: Subnet,
    pub(crate) gateway: Option<IpAddr>,
    /// 0 for a route by several links.
    pub(crate) link: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) mtu: u32,
    /// Whether whoever is on it can be asked for by ARP: a point-to-point tunnel may take no packets for others' addresses.
    pub(crate) is_broadcast: bool,
}

/// The tunnel's link, as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TunnelLink {
    pub(crate) index: u32,
    pub(crate) vni: u32,
    pub(crate) port: u16,
    pub(crate) local: Option<Ipv4Addr>,
    pub(crate) mtu: u32,
    pub(crate) is_up: bool,
    /// The hardware address of each gateway beyond it.
    pub(crate) neighbours: BTreeMap<IpAddr, [u8; 6]>,
    /// The machine that each hardware address is at.
    pub(crate) remotes: BTreeMap<[u8; 6], Ipv4Addr>,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) addresses: BTreeSet<IpAddr>,
    pub(crate) links: BTreeMap<u32, Link>,
    /// Of others.
    pub(crate) routes: Vec<Route>,
    /// Of this node's own making.
    pub(crate) own_routes: BTreeSet<Route>,
    pub(crate) tunnel: Option<TunnelLink>,
}

/// How one node is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is on this machine, and so are its pods.
    Here,
    Plain {
        gateway: IpAddr,
        link: u32,
    },
    /// To the machine with this address, whose end of the tunnel has this hardware address, by a link of this MTU.
    Tunnel {
        remote: Ipv4Addr,
        mac: [u8; 6],
        mtu: u32,
        link: u32,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    ways: BTreeMap<Subnet, Way>,
    nodes: BTreeSet<IpAddr>,
    left_out: Vec<(String, &'static str)>,
}

const OVERLAPS: &str = "its pods' addresses are another node's as well";
const INWARD: &str = "it is known by an address that only its own machine has";
const ALIKE: &str = "its machine has the same address as this one (as behind routers that translate addresses)";
const IN_USE: &str = "this machine uses its pods' addresses for something else";
const UNREACHABLE: &str = "this machine has no route to its address";
const APART: &str = "it is on no link with this node, and podNetwork.backend is routes";

impl Ways {
    pub(crate) fn is_tunnelled(&self) -> bool {
        self.ways.values().any(|way| matches!(way, Way::Tunnel { .. }))
    }

    pub(crate) fn tunnel_mtu(&self) -> u32 {
        let mtus = self.ways.values().filter_map(|way| if let Way::Tunnel { mtu, .. } = way { Some(*mtu) } else { None });
        mtus.min().unwrap_or(1500).saturating_sub(TUNNEL_OVERHEAD)
    }

    /// The other nodes' pods, which see this node's as they are.
    pub(crate) fn blocks(&self) -> BTreeSet<Subnet> {
        self.ways.keys().copied().collect()
    }

    /// The nodes that see this node's pods as they are. Those behind the tunnel do not: their answers would come by it, to
    /// what went there without.
    pub(crate) fn nodes(&self) -> &BTreeSet<IpAddr> {
        &self.nodes
    }

    pub(crate) fn left_out(&self) -> &[(String, &'static str)] {
        &self.left_out
    }

    /// Whether packets to the block leave this machine.
    pub(crate) fn leads_out(&self, block: Subnet) -> bool {
        self.ways.get(&block).is_some_and(|way| *way != Way::Here)
    }

    /// The links by which other nodes and their pods are reached, but for the tunnel's own.
    pub(crate) fn links(&self) -> BTreeSet<u32> {
        let link = |way: &Way| match way {
            Way::Here => None,
            Way::Plain { link, .. } | Way::Tunnel { link, .. } => Some(*link),
        };
        self.ways.values().filter_map(link).collect()
    }
}

pub(crate) fn ways(wishes: &Wishes<'_>, seen: &Seen) -> Ways {
    let mut found = Ways::default();
    for peer in wishes.peers {
        let is_own = wishes.own.iter().any(|own| own.overlaps(peer.block));
        let is_taken = is_own || found.ways.keys().any(|block| block.overlaps(peer.block));
        let way = if is_taken { Err(OVERLAPS) } else { way(peer, wishes, seen) };
        match way {
            Err(why) => found.left_out.push((peer.node.clone(), why)),
            Ok(way) => {
                if !matches!(way, Way::Tunnel { .. }) && !peer.block.contains(peer.address) {
                    found.nodes.insert(peer.address);
                }
                found.ways.insert(peer.block, way);
            }
        }
    }
    found
}

fn way(peer: &Peer, wishes: &Wishes<'_>, seen: &Seen) -> Result<Way, &'static str> {
    // The address alone says nothing: machines behind different routers may have the same one.
    match (seen.addresses.contains(&peer.block.gateway()), seen.addresses.contains(&peer.address)) {
        (true, true) => return Ok(Way::Here),
        (true, false) => return Err(IN_USE),
        (false, _) if peer.block.contains(peer.address) => return Err(INWARD),
        (false, true) => return Err(ALIKE),
        (false, false) => {}
    }
    let is_plain = wishes.backend != PeerBackend::Vxlan && Family::of(peer.address) == peer.block.family();
    let towards = route_towards(peer.address, seen);
    if let Some((route, link)) = towards
        && is_plain
        && route.gateway.is_none()
        && link.is_broadcast
    {
        return Ok(Way::Plain { gateway: peer.address, link: route.link });
    }
    if wishes.backend == PeerBackend::Routes {
        return Err(if towards.is_some() { APART } else { UNREACHABLE });
    }
    // One tunnel carries both families, between the nodes' IPv4 addresses.
    let own_of_node = wishes.peers.iter().filter(|other| other.node == peer.node && other.block.family() == Family::V4);
    let mut ends =
        own_of_node.filter_map(|other| if let IpAddr::V4(remote) = other.address { Some((remote, other.block)) } else { None });
    let (remote, block) = ends.next().ok_or(UNREACHABLE)?;
    if seen.addresses.contains(&remote.into()) {
        return Err(ALIKE);
    }
    let (route, link) = route_towards(remote.into(), seen).ok_or(UNREACHABLE)?;
    let mtu = if link.mtu == 0 { 1500 } else { link.mtu };
    Ok(Way::Tunnel { remote, mac: mac(block.network()), mtu, link: route.link })
}

fn route_towards(address: IpAddr, seen: &Seen) -> Option<(Route, Link)> {
    let covering = seen.routes.iter().filter(|route| route.to.contains(address));
    let route = covering.max_by_key(|route| route.to.prefix())?;
    Some((*route, seen.links.get(&route.link).copied().unwrap_or_default()))
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    RemoveTunnel,
    SetNeighbour { link: u32, gateway: IpAddr, mac: [u8; 6] },
    RemoveNeighbour { link: u32, gateway: IpAddr },
    SetRemote { link: u32, mac: [u8; 6], remote: Ipv4Addr },
    RemoveRemote { link: u32, mac: [u8; 6], remote: Ipv4Addr },
    SetRoute(Route),
    RemoveRoute(Route),
}

/// What makes `ways` of what there is. The tunnel's link is there, if there are ways by it.
pub(crate) fn changes(ways: &Ways, seen: &Seen) -> Vec<Change> {
    let mut changes = Vec::new();
    let (mut routes, mut neighbours, mut remotes) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    let tunnel = seen.tunnel.as_ref().map_or(0, |tunnel| tunnel.index);
    for (block, way) in &ways.ways {
        match *way {
            Way::Here => {}
            Way::Plain { gateway, link } => drop(routes.insert(Route { to: *block, gateway: Some(gateway), link })),
            Way::Tunnel { remote, mac, .. } => {
                // Each node's end has the block's first address, which no pod has.
                let gateway = block.network();
                neighbours.insert(gateway, mac);
                remotes.insert(mac, remote);
                routes.insert(Route { to: *block, gateway: Some(gateway), link: tunnel });
            }
        }
    }
    for route in seen.own_routes.difference(&routes) {
        // Another way to the same block replaces this one.
        if !routes.iter().any(|wanted| wanted.to == route.to) {
            changes.push(Change::RemoveRoute(*route));
        }
    }
    if let Some(is) = &seen.tunnel {
        let link = is.index;
        if !ways.is_tunnelled() {
            changes.push(Change::RemoveTunnel);
        } else {
            for gateway in is.neighbours.keys().filter(|gateway| !neighbours.contains_key(gateway)) {
                changes.push(Change::RemoveNeighbour { link, gateway: *gateway });
            }
            for (mac, remote) in is.remotes.iter().filter(|(mac, _)| !remotes.contains_key(*mac)) {
                changes.push(Change::RemoveRemote { link, mac: *mac, remote: *remote });
            }
            for (mac, remote) in remotes.iter().filter(|(mac, remote)| is.remotes.get(*mac) != Some(remote)) {
                changes.push(Change::SetRemote { link, mac: *mac, remote: *remote });
            }
            for (gateway, mac) in neighbours.iter().filter(|(gateway, mac)| is.neighbours.get(gateway) != Some(mac)) {
                changes.push(Change::SetNeighbour { link, gateway: *gateway, mac: *mac });
            }
        }
    }
    changes.extend(routes.difference(&seen.own_routes).map(|route| Change::SetRoute(*route)));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHERNET: u32 = 2;
    const WIREGUARD: u32 = 3;
    const TUNNEL: u32 = 9;

    fn of(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn v4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn peer(node: &str, address: &str, block: &str) -> Peer {
        Peer { node: node.into(), address: ip(address), block: of(block) }
    }

    /// On 192.0.2.0/24, with a way to everywhere, and a point-to-point link to 198.51.100.0/24.
    fn seen() -> Seen {
        let route = |to: &str, gateway: Option<&str>, link| Route { to: of(to), gateway: gateway.map(ip), link };
        Seen {
            addresses: ["192.0.2.1", "10.64.1.1"].map(ip).into(),
            links: BTreeMap::from([
                (ETHERNET, Link { mtu: 1500, is_broadcast: true }),
                (WIREGUARD, Link { mtu: 1420, is_broadcast: false }),
            ]),
            routes: vec![
                route("0.0.0.0/0", Some("192.0.2.254"), ETHERNET),
                route("192.0.2.0/24", None, ETHERNET),
                route("198.51.100.0/24", None, WIREGUARD),
            ],
            ..Seen::default()
        }
    }

    fn decide(backend: PeerBackend, peers: &[Peer], seen: &Seen) -> Ways {
        ways(&Wishes { own: &[of("10.64.1.0/24"), of("fd00:0:0:1::/64")], backend, peers }, seen)
    }

    fn plain(block: &str, gateway: &str) -> Route {
        Route { to: of(block), gateway: Some(ip(gateway)), link: ETHERNET }
    }

    #[test]
    fn who_is_on_the_link_is_reached_by_a_route_and_who_is_not_by_the_tunnel() {
        let peers = [peer("b", "192.0.2.2", "10.64.2.0/24"), peer("c", "203.0.113.3", "10.64.3.0/24")];
        let ways = decide(PeerBackend::Auto, &peers, &seen());
        assert_eq!(ways.blocks(), BTreeSet::from([of("10.64.2.0/24"), of("10.64.3.0/24")]));
        assert_eq!(ways.nodes(), &BTreeSet::from([ip("192.0.2.2")]), "what goes to a node outside of the tunnel");
        assert!(ways.is_tunnelled() && ways.tunnel_mtu() == 1450);
        let seen = Seen { tunnel: Some(TunnelLink { index: TUNNEL, ..TunnelLink::default() }), ..seen() };
        let (gateway, remote) = (ip("10.64.3.0"), v4("203.0.113.3"));
        let mac = mac(gateway);
        assert_eq!(
            changes(&ways, &seen),
            [
                Change::SetRemote { link: TUNNEL, mac, remote },
                Change::SetNeighbour { link: TUNNEL, gateway, mac },
                Change::SetRoute(plain("10.64.2.0/24", "192.0.2.2")),
                Change::SetRoute(Route { to: of("10.64.3.0/24"), gateway: Some(gateway), link: TUNNEL }),
            ]
        );
    }

    #[test]
    fn a_point_to_point_link_carries_the_tunnel_and_no_routes() {
        let peers = [peer("b", "198.51.100.2", "10.64.2.0/24")];
        let ways = decide(PeerBackend::Auto, &peers, &seen());
        assert!(ways.is_tunnelled() && ways.tunnel_mtu() == 1370);
    }

    #[test]
    fn the_configured_backend_is_the_only_one() {
        let peers = [peer("b", "192.0.2.2", "10.64.2.0/24"), peer("c", "203.0.113.3", "10.64.3.0/24")];
        let routes = decide(PeerBackend::Routes, &peers, &seen());
        assert!(!routes.is_tunnelled());
        assert_eq!(routes.left_out(), [("c".to_owned(), APART)]);
        let tunnel = decide(PeerBackend::Vxlan, &peers, &seen());
        assert_eq!(tunnel.nodes(), &BTreeSet::new());
        assert_eq!(tunnel.blocks().len(), 2);
    }

    #[test]
    fn a_node_of_this_machine_needs_no_way_and_one_known_inside_its_own_has_none() {
        let here = Seen { addresses: ["192.0.2.1", "10.64.2.1"].map(ip).into(), ..seen() };
        let peers = [peer("b", "10.64.2.1", "10.64.2.0/24"), peer("c", "10.64.3.1", "10.64.3.0/24")];
        let ways = decide(PeerBackend::Auto, &peers, &here);
        assert_eq!(changes(&ways, &here), []);
        assert_eq!(ways.blocks(), BTreeSet::from([of("10.64.2.0/24")]));
        assert_eq!(ways.left_out(), [("c".to_owned(), INWARD)]);
    }

    #[test]
    fn a_machine_with_the_same_address_is_another_one_unless_its_pods_are_here() {
        let here = Seen { addresses: ["192.0.2.1", "10.64.1.1", "10.64.2.1", "10.64.4.1"].map(ip).into(), ..seen() };
        let peers = [
            peer("b", "192.0.2.1", "10.64.2.0/24"),
            peer("c", "192.0.2.1", "10.64.3.0/24"),
            peer("d", "192.0.2.4", "10.64.4.0/24"),
            peer("e", "fd00:0:0:fffe::5", "fd00:0:0:5::/64"),
            peer("e", "192.0.2.1", "10.64.5.0/24"),
        ];
        for backend in [PeerBackend::Auto, PeerBackend::Vxlan] {
            let ways = decide(backend, &peers, &here);
            assert_eq!(ways.blocks(), BTreeSet::from([of("10.64.2.0/24")]), "shares the machine");
            assert!(!ways.leads_out(of("10.64.2.0/24")) && changes(&ways, &here).is_empty());
            let left_out = [("c", ALIKE), ("d", IN_USE), ("e", ALIKE), ("e", ALIKE)];
            assert_eq!(ways.left_out(), left_out.map(|(node, why)| (node.to_owned(), why)), "no tunnel to this machine itself");
        }
    }

    #[test]
    fn the_links_that_lead_to_others_are_known() {
        let peers = [
            peer("b", "192.0.2.2", "10.64.2.0/24"),
            peer("c", "198.51.100.3", "10.64.3.0/24"),
            peer("d", "192.0.2.1", "10.64.4.0/24"),
        ];
        let seen = Seen { addresses: ["192.0.2.1", "10.64.1.1", "10.64.4.1"].map(ip).into(), ..seen() };
        let ways = decide(PeerBackend::Auto, &peers, &seen);
        assert_eq!(ways.links(), BTreeSet::from([ETHERNET, WIREGUARD]));
        assert!(ways.leads_out(of("10.64.3.0/24")) && !ways.leads_out(of("10.64.4.0/24")) && !ways.leads_out(of("10.64.9.0/24")));
    }

    #[test]
    fn a_second_block_goes_by_the_nodes_second_address_and_by_the_tunnel_where_it_has_none() {
        let on_link = Route { to: of("fd00:0:0:fffe::/64"), gateway: None, link: ETHERNET };
        let seen = Seen { routes: [seen().routes, vec![on_link]].concat(), ..seen() };
        let peers = [
            peer("b", "192.0.2.2", "10.64.2.0/24"),
            peer("b", "fd00:0:0:fffe::2", "fd00:0:0:2::/64"),
            peer("c", "192.0.2.3", "10.64.3.0/24"),
            peer("c", "192.0.2.3", "fd00:0:0:3::/64"),
        ];
        let ways = decide(PeerBackend::Auto, &peers, &seen);
        let found: Vec<_> = ways.ways.values().copied().collect();
        let plain = |gateway: &str| Way::Plain { gateway: ip(gateway), link: ETHERNET };
        let tunnel = Way::Tunnel { remote: v4("192.0.2.3"), mac: mac(ip("10.64.3.0")), mtu: 1500, link: ETHERNET };
        assert_eq!(found, [plain("192.0.2.2"), plain("192.0.2.3"), plain("fd00:0:0:fffe::2"), tunnel]);
        assert_eq!(ways.nodes(), &["192.0.2.2", "192.0.2.3", "fd00:0:0:fffe::2"].map(ip).into());
        assert_eq!(decide(PeerBackend::Routes, &peers, &seen).left_out(), [("c".to_owned(), APART)]);
    }

    #[test]
    fn blocks_that_overlap_are_the_firsts() {
        let peers = [
            peer("b", "192.0.2.2", "10.64.2.0/24"),
            peer("c", "192.0.2.3", "10.64.2.0/24"),
            peer("d", "192.0.2.4", "10.64.1.0/24"),
        ];
        let ways = decide(PeerBackend::Auto, &peers, &seen());
        assert_eq!(ways.nodes(), &BTreeSet::from([ip("192.0.2.2")]));
        assert_eq!(ways.left_out(), [("c".to_owned(), OVERLAPS), ("d".to_owned(), OVERLAPS)]);
    }

    #[test]
    fn what_is_stale_goes_and_what_was_taken_away_comes_back() {
        let peers = [peer("b", "192.0.2.2", "10.64.2.0/24")];
        let ways = decide(PeerBackend::Auto, &peers, &seen());
        let (wanted, moved, stale) =
            (plain("10.64.2.0/24", "192.0.2.2"), plain("10.64.2.0/24", "192.0.2.9"), plain("10.64.7.0/24", "192.0.2.7"));
        assert_eq!(changes(&ways, &seen()), [Change::SetRoute(wanted)]);
        assert_eq!(changes(&ways, &Seen { own_routes: [wanted].into(), ..seen() }), []);
        let tunnel = TunnelLink { index: TUNNEL, ..TunnelLink::default() };
        let old = Seen { own_routes: [moved, stale].into(), tunnel: Some(tunnel), ..seen() };
        assert_eq!(changes(&ways, &old), [Change::RemoveRoute(stale), Change::RemoveTunnel, Change::SetRoute(wanted)]);

        let far = decide(PeerBackend::Vxlan, &peers, &seen());
        let gateway = ip("10.64.2.0");
        let tunnel = TunnelLink {
            index: TUNNEL,
            neighbours: BTreeMap::from([(gateway, mac(gateway)), (ip("10.64.7.0"), mac(ip("10.64.7.0")))]),
            remotes: BTreeMap::from([(mac(gateway), v4("192.0.2.9")), (mac(ip("10.64.7.0")), v4("192.0.2.7"))]),
            ..TunnelLink::default()
        };
        let route = Route { to: of("10.64.2.0/24"), gateway: Some(gateway), link: TUNNEL };
        let old = Seen { own_routes: [route].into(), tunnel: Some(tunnel), ..seen() };
        assert_eq!(
            changes(&far, &old),
            [
                Change::RemoveNeighbour { link: TUNNEL, gateway: ip("10.64.7.0") },
                Change::RemoveRemote { link: TUNNEL, mac: mac(ip("10.64.7.0")), remote: v4("192.0.2.7") },
                Change::SetRemote { link: TUNNEL, mac: mac(gateway), remote: v4("192.0.2.2") },
            ]
        );
    }
}
