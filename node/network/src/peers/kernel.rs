//! What the kernel has of the ways to other nodes, and changing it, over netlink.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt as _;
use rtnetlink::LinkVxlan;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoData, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType};

use super::decide::{Change, Link, Route, Seen, TunnelLink};
use crate::links::{Links, address_of, failed, mac, name, route_address, route_to, unless};
use crate::{Family, NetworkConfig, NetworkError, Subnet};

/// By which routes of Mizzen are known (`ip route list proto 109`): of those that nobody has registered.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(109);
/// Of VXLAN, as it is registered.
const PORT: u16 = 4789;

/// The tunnel's link, as it should be.
pub(super) struct Tunnel {
    name: String,
    vni: u32,
    /// The node's own end has its block's first address, as the others expect.
    end: IpAddr,
    local: Option<Ipv4Addr>,
    mtu: u32,
}

impl Tunnel {
    /// `own` is the node's primary block.
    pub(super) fn of(config: &NetworkConfig, own: Subnet, mtu: u32) -> Self {
        let local = config.node_address.and_then(|address| if let IpAddr::V4(address) = address { Some(address) } else { None });
        Self { name: config.tunnel(), vni: config.peers.vni, end: own.network(), local, mtu }
    }

    pub(super) fn fits(&self, is: &TunnelLink) -> bool {
        let Self { vni, local, mtu, .. } = self;
        (is.vni, is.port, is.local, is.mtu, is.is_up) == (*vni, PORT, *local, *mtu, true)
    }
}

/// Makes the tunnel, in the place of one that was there.
pub(super) async fn make_tunnel(links: &Links, tunnel: &Tunnel) -> Result<(), NetworkError> {
    let link = tunnel.name.as_str();
    links.delete(link).await?;
    let mut message =
        LinkVxlan::new(link, tunnel.vni).port(PORT).learning(false).mtu(tunnel.mtu).address(mac(tunnel.end).to_vec());
    if let Some(local) = tunnel.local {
        message = message.local(local);
    }
    links.handle.link().add(message.build()).execute().await.map_err(failed("create the tunnel", link))?;
    let index = links.index_of(link).await?;
    // What leaves by it for another address comes from here, so that answers come back by it.
    links.add_address(index, link, tunnel.end, Family::of(tunnel.end).bits()).await?;
    links.up(index, link).await
}

/// Reads what there is.
pub(super) async fn look(links: &Links, config: &NetworkConfig, own: &[Subnet]) -> Result<Seen, NetworkError> {
    let handle = &links.handle;
    let mut seen = Seen::default();
    let all: Vec<LinkMessage> = handle.link().get().execute().try_collect().await.map_err(failed("list", "links"))?;
    let tunnel = config.tunnel();
    for message in &all {
        let attribute = |a: &LinkAttribute| if let LinkAttribute::Mtu(mtu) = a { Some(*mtu) } else { None };
        let mtu = message.attributes.iter().find_map(attribute).unwrap_or_default();
        let flags = message.header.flags;
        let is_broadcast = flags.contains(LinkFlags::Broadcast) && !flags.contains(LinkFlags::Noarp);
        seen.links.insert(message.header.index, Link { mtu, is_broadcast });
        if name(message) == Some(&tunnel) {
            seen.tunnel = Some(tunnel_link(message, mtu));
        }
    }
    let addresses: Vec<_> = handle.address().get().execute().try_collect().await.map_err(failed("list", "addresses"))?;
    for attribute in addresses.iter().flat_map(|message| &message.attributes) {
        if let AddressAttribute::Address(ip) = attribute {
            seen.addresses.insert(*ip);
        }
    }
    let routes = links.routes().await?;
    for message in routes.iter().filter(|message| is_of_main_table(message)) {
        let (route, source) = route(message);
        if message.header.protocol == PROTOCOL && source.is_some_and(|source| own.iter().any(|own| own.gateway() == source)) {
            seen.own_routes.insert(route);
        } else if message.header.protocol != PROTOCOL {
            seen.routes.push(route);
        }
    }
    if let Some(link) = &mut seen.tunnel {
        let index = link.index;
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            for message in neighbours(links, family, index, &tunnel).await? {
                if let (Some(mac), Some(gateway)) = ends(&message) {
                    link.neighbours.insert(gateway, mac);
                }
            }
        }
        for message in neighbours(links, AddressFamily::Bridge, index, &tunnel).await? {
            if let (Some(mac), Some(IpAddr::V4(remote))) = ends(&message) {
                link.remotes.insert(mac, remote);
            }
        }
    }
    Ok(seen)
}

fn tunnel_link(message: &LinkMessage, mtu: u32) -> TunnelLink {
    let is_up = message.header.flags.contains(LinkFlags::Up);
    let mut link = TunnelLink { index: message.header.index, mtu, is_up, ..TunnelLink::default() };
    let infos = message.attributes.iter().flat_map(|a| if let LinkAttribute::LinkInfo(infos) = a { &infos[..] } else { &[] });
    for info in infos {
        let LinkInfo::Data(InfoData::Vxlan(data)) = info else { continue };
        for datum in data {
            match datum {
                InfoVxlan::Id(vni) => link.vni = *vni,
                InfoVxlan::Port(port) => link.port = *port,
                InfoVxlan::Local(local) => link.local = Some(*local),
                _ => {}
            }
        }
    }
    link
}

fn is_of_main_table(message: &RouteMessage) -> bool {
    message.header.table == RouteHeader::RT_TABLE_MAIN && message.header.kind == RouteType::Unicast
}

/// The route and the address that it has packets come from.
fn route(message: &RouteMessage) -> (Route, Option<IpAddr>) {
    let everywhere: IpAddr = match message.header.address_family {
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    };
    let (mut to, mut gateway, mut link, mut source) = (everywhere, None, 0, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(ip) => to = address_of(ip).unwrap_or(to),
            RouteAttribute::Gateway(ip) => gateway = address_of(ip),
            RouteAttribute::PrefSource(ip) => source = address_of(ip),
            RouteAttribute::Oif(index) => link = *index,
            _ => {}
        }
    }
    (Route { to: Subnet::containing(to, message.header.destination_prefix_length), gateway, link }, source)
}

/// The permanent ones of a link.
async fn neighbours(links: &Links, family: AddressFamily, index: u32, link: &str) -> Result<Vec<NeighbourMessage>, NetworkError> {
    let all = links.handle.neighbours().get().set_address_family(family).execute();
    let all: Vec<NeighbourMessage> = all.try_collect().await.map_err(failed("list the neighbours of", link))?;
    let is_ours = |m: &NeighbourMessage| m.header.ifindex == index && m.header.state == NeighbourState::Permanent;
    Ok(all.into_iter().filter(is_ours).collect())
}

fn ends(message: &NeighbourMessage) -> (Option<[u8; 6]>, Option<IpAddr>) {
    let (mut mac, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.first_chunk().copied(),
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(IpAddr::V4(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(IpAddr::V6(*ip)),
            // Of an entry of the forwarding table, whose family is that of bridges.
            NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
                address = bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes));
            }
            _ => {}
        }
    }
    (mac, address)
}

pub(super) async fn act(links: &Links, config: &NetworkConfig, own: &[Subnet], change: &Change) -> Result<(), NetworkError> {
    let (handle, tunnel) = (&links.handle, config.tunnel());
    match *change {
        Change::RemoveTunnel => links.delete(&tunnel).await,
        Change::SetNeighbour { link, gateway, mac } => {
            let add = handle.neighbours().add(link, gateway).link_layer_address(&mac).replace();
            add.execute().await.map_err(failed("add a neighbour to", &tunnel))
        }
        Change::RemoveNeighbour { link, gateway } => {
            let mut message = NeighbourMessage::default();
            let (family, destination) = neighbour(gateway);
            message.header.family = family;
            message.header.ifindex = link;
            message.attributes.push(NeighbourAttribute::Destination(destination));
            let deleted = handle.neighbours().del(message).execute().await;
            deleted.or_else(unless(libc::ENOENT)).map_err(failed("remove a neighbour from", &tunnel))
        }
        Change::SetRemote { link, mac, remote } => {
            let add = handle.neighbours().add_bridge(link, &mac).destination(IpAddr::V4(remote));
            let added = add.flags(NeighbourFlags::Own).replace().execute().await;
            added.map_err(failed("add a forwarding entry to", &tunnel))
        }
        Change::RemoveRemote { link, mac, remote } => {
            let mut message = NeighbourMessage::default();
            message.header.family = AddressFamily::Bridge;
            message.header.ifindex = link;
            message.header.state = NeighbourState::Permanent;
            message.header.flags = NeighbourFlags::Own;
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
            message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(remote)));
            let deleted = handle.neighbours().del(message).execute().await;
            deleted.or_else(unless(libc::ENOENT)).map_err(failed("remove a forwarding entry from", &tunnel))
        }
        Change::SetRoute(route) => {
            let set = handle.route().add(message(route, own)).replace().execute().await;
            set.map_err(failed("add the route to other nodes' pods", &route.to.to_string()))
        }
        Change::RemoveRoute(route) => {
            let deleted = handle.route().del(message(route, own)).execute().await;
            deleted.or_else(unless(libc::ESRCH)).map_err(failed("remove the route to other nodes' pods", &route.to.to_string()))
        }
    }
}

/// What the machine's own programs send comes from the bridge's address, which is of this node's block: answers come back as
/// those of pods do.
fn message(route: Route, own: &[Subnet]) -> RouteMessage {
    let mut message = route_to(route.to, route.link);
    message.header.protocol = PROTOCOL;
    let source = own.iter().find(|own| own.family() == route.to.family());
    message.attributes.extend(source.map(|own| RouteAttribute::PrefSource(route_address(own.gateway()))));
    if let Some(gateway) = route.gateway {
        message.attributes.push(RouteAttribute::Gateway(route_address(gateway)));
        // On the link whatever addresses it has: the far ends of the tunnel are in nobody's range.
        message.header.flags.insert(RouteFlags::Onlink);
    }
    message
}

/// A neighbour's address, as netlink has it.
pub(crate) fn neighbour(address: IpAddr) -> (AddressFamily, NeighbourAddress) {
    match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    }
}

/// The MTU of the link that has an address, if some has.
pub(crate) async fn mtu_at(links: &Links, address: IpAddr) -> Result<Option<u32>, NetworkError> {
    let find = links.handle.address().get().set_address_filter(address).execute();
    let found: Vec<_> = find.try_collect().await.map_err(failed("list", "addresses"))?;
    let indices: BTreeSet<u32> = found.iter().map(|message| message.header.index).collect();
    let all: Vec<LinkMessage> = links.handle.link().get().execute().try_collect().await.map_err(failed("list", "links"))?;
    let mtus: BTreeMap<u32, u32> = all
        .iter()
        .flat_map(|m| m.attributes.iter().map(move |a| (m.header.index, a)))
        .filter_map(|(index, a)| if let LinkAttribute::Mtu(mtu) = a { Some((index, *mtu)) } else { None })
        .collect();
    Ok(indices.iter().find_map(|index| mtus.get(index).copied()))
}
