//! Addresses that this node answers for on its link: of load balancers, for which no machine has an interface.
//!
//! The kernel answers ARP for them (proxy entries), because its routes lead them elsewhere than to the link that is asked on: to
//! the bridge, as services' own addresses. Nothing of the machine itself is reached by them. A gratuitous ARP (RFC 5944, 4.6)
//! tells the neighbours at once who answers now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd as _;

use futures::TryStreamExt as _;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::AddressFamily as Family;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope};

use crate::links::{failed, name, unless};
use crate::machine::try_sysctl;
use crate::network::Network;
use crate::{Ipv4Subnet, NetworkError, state};

/// Of the routes of announced addresses: the one after that of routes to other nodes.
pub(crate) const PROTOCOL: RouteProtocol = RouteProtocol::Other(110);
const ETHERTYPE_ARP: u16 = 0x0806;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// New ones, of which the neighbours have been told.
    pub new: Vec<Ipv4Addr>,
    /// On no link of this machine, or of it already.
    pub left_out: Vec<Ipv4Addr>,
}

/// A link on which addresses are asked for.
struct Place {
    link: u32,
    name: String,
    mac: [u8; 6],
}

impl Network {
    /// Answers for these addresses, and for no others any more; repeatable.
    ///
    /// # Errors
    /// When the kernel refuses. Call again.
    pub async fn announce(&self, wanted: &BTreeSet<Ipv4Addr>) -> Result<Announced, NetworkError> {
        // A netlink socket lists one thing at a time.
        let _turn = self.peers.lock().await;
        let (own, ranges) = self.reachable().await?;
        let mut places = BTreeMap::new();
        let mut announced = Announced::default();
        for address in wanted {
            let place = ranges.iter().filter(|(range, _)| range.contains(*address)).max_by_key(|(range, _)| range.prefix());
            match place.filter(|_| !own.contains(address)) {
                Some((_, link)) => drop(places.insert(*address, *link)),
                None => announced.left_out.push(*address),
            }
        }
        let present = self.announced().await?;
        for (address, message) in present.iter().filter(|(address, _)| !places.contains_key(address)) {
            self.withdraw(*address, message.clone()).await?;
        }
        for (address, link) in places.iter().filter(|(address, _)| !present.contains_key(address)) {
            let place = self.place(*link).await?;
            self.answer(*address, &place).await?;
            announced.new.push(*address);
        }
        Ok(announced)
    }

    /// Tells the neighbours again who answers for an address.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn tell_neighbours(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        let _turn = self.peers.lock().await;
        let (_, ranges) = self.reachable().await?;
        let place = ranges.iter().filter(|(range, _)| range.contains(address)).max_by_key(|(range, _)| range.prefix());
        let Some((_, link)) = place else { return Ok(()) };
        let place = self.place(*link).await?;
        send(&place, address).map_err(state::io("announce an address on", place.name.as_ref()))
    }

    /// The machine's own addresses, and the ranges on its links but those of pods.
    async fn reachable(&self) -> Result<(BTreeSet<Ipv4Addr>, Vec<(Ipv4Subnet, u32)>), NetworkError> {
        use rtnetlink::packet_route::address::AddressAttribute;
        let all = self.links.handle.address().get().execute();
        let all: Vec<_> = all.try_collect().await.map_err(failed("list", "addresses"))?;
        let (mut own, mut ranges) = (BTreeSet::new(), Vec::new());
        for message in &all {
            for attribute in &message.attributes {
                if let AddressAttribute::Address(IpAddr::V4(ip)) = attribute {
                    own.insert(*ip);
                    if message.header.index != self.bridge && !ip.is_loopback() {
                        ranges.push((Ipv4Subnet::containing(*ip, message.header.prefix_len), message.header.index));
                    }
                }
            }
        }
        Ok((own, ranges))
    }

    /// Routes of addresses that are announced now.
    async fn announced(&self) -> Result<BTreeMap<Ipv4Addr, RouteMessage>, NetworkError> {
        let query = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let all = self.links.handle.route().get(query).execute();
        let all: Vec<RouteMessage> = all.try_collect().await.map_err(failed("list", "routes"))?;
        let by_bridge = |a: &RouteAttribute| matches!(a, RouteAttribute::Oif(index) if *index == self.bridge);
        let is_ours = |m: &RouteMessage| m.header.protocol == PROTOCOL && m.attributes.iter().any(by_bridge);
        let destination =
            |a: &RouteAttribute| if let RouteAttribute::Destination(RouteAddress::Inet(ip)) = a { Some(*ip) } else { None };
        let ours = all.into_iter().filter(is_ours);
        Ok(ours.filter_map(|message| Some((message.attributes.iter().find_map(destination)?, message))).collect())
    }

    async fn place(&self, link: u32) -> Result<Place, NetworkError> {
        let all = self.links.handle.link().get().match_index(link).execute();
        let all: Vec<LinkMessage> = all.try_collect().await.map_err(failed("look up", &link.to_string()))?;
        let of = |message: &LinkMessage| {
            let mac =
                |a: &LinkAttribute| if let LinkAttribute::Address(mac) = a { mac.first_chunk::<6>().copied() } else { None };
            Some(Place { link, name: name(message)?.to_owned(), mac: message.attributes.iter().find_map(mac)? })
        };
        all.iter().find_map(of).ok_or_else(|| failed("find", &link.to_string())(rtnetlink::Error::RequestFailed))
    }

    /// The entry first: the route says that all is there.
    async fn answer(&self, address: Ipv4Addr, place: &Place) -> Result<(), NetworkError> {
        // Otherwise the kernel waits up to 0.8 s before it answers for others.
        try_sysctl(&format!("net/ipv4/neigh/{}/proxy_delay", place.name), "0");
        let handle = &self.links.handle;
        let add = handle.neighbours().add(place.link, IpAddr::V4(address)).flags(NeighbourFlags::Proxy).replace();
        add.execute().await.map_err(failed("answer for an address on", &place.name))?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(address, 32)
            .output_interface(self.bridge)
            .pref_source(self.subnet.gateway())
            .scope(RouteScope::Link)
            .protocol(PROTOCOL);
        let set = handle.route().add(route.build()).replace().execute().await;
        set.map_err(failed("add an announced address to", &self.config.bridge()))?;
        send(place, address).map_err(state::io("announce an address on", place.name.as_ref()))
    }

    async fn withdraw(&self, address: Ipv4Addr, route: RouteMessage) -> Result<(), NetworkError> {
        let handle = &self.links.handle;
        let proxies = handle.neighbours().get().set_address_family(Family::Inet).proxies().execute();
        let proxies: Vec<NeighbourMessage> = proxies.try_collect().await.map_err(failed("list", "proxy entries"))?;
        let wanted = NeighbourAttribute::Destination(NeighbourAddress::Inet(address));
        for message in proxies.into_iter().filter(|message| message.attributes.contains(&wanted)) {
            let deleted = handle.neighbours().del(message).execute().await;
            deleted.or_else(unless(libc::ENOENT)).map_err(failed("answer no more for", &address.to_string()))?;
        }
        let deleted = handle.route().del(route).execute().await;
        deleted.or_else(unless(libc::ESRCH)).map_err(failed("remove an announced address from", &self.config.bridge()))
    }
}

/// An ARP request of the address for itself, to everybody: whoever knows it takes the hardware address from it.
fn gratuitous(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = [[0xff; 6], mac].concat();
    frame.extend(ETHERTYPE_ARP.to_be_bytes());
    // Ethernet, IPv4, 6 and 4 bytes, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

fn send(place: &Place, address: Ipv4Addr) -> std::io::Result<()> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let frame = gratuitous(place.mac, address);
    // SAFETY: sockaddr_ll is plain numbers, for which all zeroes is a value.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as libc::sa_family_t;
    to.sll_protocol = ETHERTYPE_ARP.to_be();
    to.sll_ifindex = libc::c_int::try_from(place.link).unwrap_or_default();
    to.sll_halen = 6;
    to.sll_addr[..6].fill(0xff);
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: the frame and the address live until the call returns, with the lengths that are given.
    let sent = unsafe {
        libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, std::ptr::from_ref(&to).cast(), length)
    };
    if sent < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gratuitous_arp_names_one_address_as_sender_and_target() {
        let frame = gratuitous([2, 0, 0, 0, 0, 7], Ipv4Addr::new(192, 0, 2, 9));
        assert_eq!(frame.len(), 42);
        assert_eq!((&frame[..6], &frame[12..14]), (&[0xff; 6][..], &[8, 6][..]));
        assert_eq!((&frame[28..32], &frame[38..42]), (&[192, 0, 2, 9][..], &[192, 0, 2, 9][..]));
        assert_eq!((&frame[6..12], &frame[22..28]), (&[2, 0, 0, 0, 0, 7][..], &[2, 0, 0, 0, 0, 7][..]));
    }
}
