//! Addresses that this node answers for on its link: of load balancers, for which no machine has an interface.
//!
//! The kernel answers ARP and NDP for them (proxy entries), because its routes lead them elsewhere than to the link that is asked
//! on: to the bridge, as services' own addresses. Nothing of the machine itself is reached by them. A gratuitous ARP (RFC 5944,
//! 4.6), or an unsolicited neighbour advertisement (RFC 4861, 7.2.6), tells the neighbours at once who answers now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;

use futures::TryStreamExt as _;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope};

use crate::links::{address_of, failed, name, route_address, route_to, unless};
use crate::machine::try_sysctl;
use crate::network::Network;
use crate::peers::neighbour;
use crate::{Family, NetworkError, Subnet, state};

/// Of the routes of announced addresses: the one after that of routes to other nodes.
pub(crate) const PROTOCOL: RouteProtocol = RouteProtocol::Other(110);
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const NEXT_HEADER_ICMPV6: u8 = 58;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// New ones, of which the neighbours have been told.
    pub new: Vec<IpAddr>,
    /// On no link of this machine, or of it already.
    pub left_out: Vec<IpAddr>,
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
    pub async fn announce(&self, wanted: &BTreeSet<IpAddr>) -> Result<Announced, NetworkError> {
        // A netlink socket lists one thing at a time.
        let _turn = self.peers.lock().await;
        let (own, ranges) = self.reachable().await?;
        let mut places = BTreeMap::new();
        let mut announced = Announced::default();
        for address in wanted {
            let place = ranges.iter().filter(|(range, _)| range.contains(*address)).max_by_key(|(range, _)| range.prefix());
            let leads = self.gateway(Family::of(*address)).is_some();
            match place.filter(|_| leads && !own.contains(address)) {
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

    /// The networks on this machine's links, but those of its pods: addresses of these can be announced here.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub async fn link_ranges(&self) -> Result<BTreeSet<Subnet>, NetworkError> {
        let _turn = self.peers.lock().await;
        let (_, ranges) = self.reachable().await?;
        // Each link has fe80::/10 for itself, and a range of one address has nobody else's.
        let is_shared = |range: &Subnet| match range.network() {
            IpAddr::V6(network) if network.is_unicast_link_local() => false,
            _ => range.prefix() < range.family().bits(),
        };
        Ok(ranges.into_iter().map(|(range, _)| range).filter(is_shared).collect())
    }

    /// Tells the neighbours again who answers for an address.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn tell_neighbours(&self, address: IpAddr) -> Result<(), NetworkError> {
        let _turn = self.peers.lock().await;
        let (_, ranges) = self.reachable().await?;
        let place = ranges.iter().filter(|(range, _)| range.contains(address)).max_by_key(|(range, _)| range.prefix());
        let Some((_, link)) = place else { return Ok(()) };
        let place = self.place(*link).await?;
        send(&place, address).map_err(state::io("announce an address on", place.name.as_ref()))
    }

    /// The machine's own addresses, and the ranges on its links but those of pods.
    async fn reachable(&self) -> Result<(BTreeSet<IpAddr>, Vec<(Subnet, u32)>), NetworkError> {
        use rtnetlink::packet_route::address::AddressAttribute;
        let all = self.links.handle.address().get().execute();
        let all: Vec<_> = all.try_collect().await.map_err(failed("list", "addresses"))?;
        let (mut own, mut ranges) = (BTreeSet::new(), Vec::new());
        for message in &all {
            for attribute in &message.attributes {
                if let AddressAttribute::Address(ip) = attribute {
                    own.insert(*ip);
                    if message.header.index != self.bridge && !ip.is_loopback() {
                        ranges.push((Subnet::containing(*ip, message.header.prefix_len), message.header.index));
                    }
                }
            }
        }
        Ok((own, ranges))
    }

    /// Routes of addresses that are announced now.
    async fn announced(&self) -> Result<BTreeMap<IpAddr, RouteMessage>, NetworkError> {
        let all = self.links.routes().await?;
        let by_bridge = |a: &RouteAttribute| matches!(a, RouteAttribute::Oif(index) if *index == self.bridge);
        let is_ours = |m: &RouteMessage| m.header.protocol == PROTOCOL && m.attributes.iter().any(by_bridge);
        let destination = |a: &RouteAttribute| if let RouteAttribute::Destination(ip) = a { address_of(ip) } else { None };
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
    async fn answer(&self, address: IpAddr, place: &Place) -> Result<(), NetworkError> {
        let family = Family::of(address);
        // Otherwise the kernel waits up to 0.8 s before it answers for others.
        try_sysctl(&format!("net/{}/neigh/{}/proxy_delay", family.name().to_lowercase(), place.name), "0");
        if family == Family::V6 {
            // Of IPv6, entries count only where this says so.
            try_sysctl(&format!("net/ipv6/conf/{}/proxy_ndp", place.name), "1");
        }
        let handle = &self.links.handle;
        let add = handle.neighbours().add(place.link, address).flags(NeighbourFlags::Proxy).replace();
        add.execute().await.map_err(failed("answer for an address on", &place.name))?;
        let mut route = route_to(Subnet::containing(address, family.bits()), self.bridge);
        route.header.scope = RouteScope::Link;
        route.header.protocol = PROTOCOL;
        route.attributes.extend(self.gateway(family).map(|gateway| RouteAttribute::PrefSource(route_address(gateway))));
        let set = handle.route().add(route).replace().execute().await;
        set.map_err(failed("add an announced address to", &self.config.bridge()))?;
        send(place, address).map_err(state::io("announce an address on", place.name.as_ref()))
    }

    async fn withdraw(&self, address: IpAddr, route: RouteMessage) -> Result<(), NetworkError> {
        let handle = &self.links.handle;
        let (family, destination) = neighbour(address);
        let proxies = handle.neighbours().get().set_address_family(family).proxies().execute();
        let proxies: Vec<NeighbourMessage> = proxies.try_collect().await.map_err(failed("list", "proxy entries"))?;
        let wanted = NeighbourAttribute::Destination(destination);
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

/// An advertisement, to everybody, that the address is at this hardware address: whoever knows it takes it over.
fn advertisement(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    let everybody = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    // Neighbour advertisement; overriding what was known; with the target's link-layer address.
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(address.octets());
    message.extend([2, 1]);
    message.extend(mac);
    let length = u16::try_from(message.len()).unwrap_or(0).to_be_bytes();
    let pseudo =
        [&address.octets()[..], &everybody.octets(), &[0, 0], &length, &[0, 0, 0, NEXT_HEADER_ICMPV6], &message].concat();
    let checksum = checksum(&pseudo);
    message.splice(2..4, checksum.to_be_bytes());
    let mut frame = [[0x33, 0x33, 0, 0, 0, 1], mac].concat();
    frame.extend(ETHERTYPE_IPV6.to_be_bytes());
    // Version 6; hops 255, as receivers demand of neighbours.
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length);
    frame.extend([NEXT_HEADER_ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(everybody.octets());
    frame.extend(message);
    frame
}

/// RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
}

fn send(place: &Place, address: IpAddr) -> std::io::Result<()> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let (protocol, frame) = match address {
        IpAddr::V4(address) => (ETHERTYPE_ARP, gratuitous(place.mac, address)),
        IpAddr::V6(address) => (ETHERTYPE_IPV6, advertisement(place.mac, address)),
    };
    // SAFETY: sockaddr_ll is plain numbers, for which all zeroes is a value.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as libc::sa_family_t;
    to.sll_protocol = protocol.to_be();
    to.sll_ifindex = libc::c_int::try_from(place.link).unwrap_or_default();
    to.sll_halen = 6;
    to.sll_addr[..6].copy_from_slice(&frame[..6]);
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

    #[test]
    fn an_advertisement_overrides_what_neighbours_knew_and_adds_up() {
        let (mac, address) = ([2, 0, 0, 0, 0, 7], "fd00::9".parse().unwrap());
        let frame = advertisement(mac, address);
        assert_eq!((frame.len(), &frame[..6], &frame[12..14]), (86, &[0x33, 0x33, 0, 0, 0, 1][..], &[0x86, 0xdd][..]));
        assert_eq!((frame[54], frame[58], &frame[62..78], &frame[80..]), (136, 0x20, &address.octets()[..], &mac[..]));
        let summed = [&frame[22..54], &[0, 0, 0, 32, 0, 0, 0, NEXT_HEADER_ICMPV6], &frame[54..]].concat();
        assert_eq!(checksum(&summed), 0, "with its checksum in it");
    }
}
