//! Links, addresses and routes over netlink, in the namespace where the socket was made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

use futures::TryStreamExt as _;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage, State};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::task::AbortHandle;

use crate::family::number;
use crate::{Family, NetworkError, Subnet};

/// The loopback of every network namespace.
const LOOPBACK: u32 = 1;

pub(crate) struct Links {
    pub(crate) handle: Handle,
    connection: AbortHandle,
}

impl Drop for Links {
    fn drop(&mut self) {
        // The socket would otherwise keep its namespace alive.
        self.connection.abort();
    }
}

/// A veth pair to be made: one end on the bridge, the other inside a namespace.
pub(crate) struct Pair<'a> {
    pub(crate) outside: &'a str,
    pub(crate) inside: &'a str,
    pub(crate) namespace: BorrowedFd<'a>,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
    pub(crate) bridge: u32,
}

/// A locally administered MAC that follows from the address, so that a neighbour's ARP entry stays right when a pod's
/// namespace is made again.
pub(crate) fn mac(address: IpAddr) -> [u8; 6] {
    let [.., a, b, c, d] = number(address).to_be_bytes();
    [0x0a, 0x58, a, b, c, d]
}

/// A question for all routes of a family.
pub(crate) fn any_route(family: Family) -> RouteMessage {
    match family {
        Family::V4 => RouteMessageBuilder::<Ipv4Addr>::new().build(),
        Family::V6 => RouteMessageBuilder::<Ipv6Addr>::new().build(),
    }
}

/// A route to a range by a link.
pub(crate) fn route_to(range: Subnet, link: u32) -> RouteMessage {
    let mut message = any_route(range.family());
    message.header.destination_prefix_length = range.prefix();
    if range.prefix() > 0 {
        message.attributes.push(RouteAttribute::Destination(route_address(range.network())));
    }
    message.attributes.push(RouteAttribute::Oif(link));
    message
}

pub(crate) fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

pub(crate) fn address_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

pub(crate) fn failed(operation: &'static str, link: &str) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    let link = link.to_owned();
    move |source| NetworkError::Link { operation, link, source }
}

fn errno(error: &rtnetlink::Error) -> i32 {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.raw_code().abs(),
        _ => 0,
    }
}

pub(crate) fn unless(code: i32) -> impl FnOnce(rtnetlink::Error) -> Result<(), rtnetlink::Error> {
    move |error| if errno(&error) == code { Ok(()) } else { Err(error) }
}

pub(crate) fn name(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|a| if let LinkAttribute::IfName(name) = a { Some(name.as_str()) } else { None })
}

impl Links {
    /// In the calling thread's network namespace, driven by the current runtime.
    pub(crate) fn connect() -> Result<Self, NetworkError> {
        let path = "/proc/thread-self/ns/net".as_ref();
        let (connection, handle, _) = rtnetlink::new_connection().map_err(crate::state::io("open a netlink socket in", path))?;
        let connection = tokio::spawn(connection).abort_handle();
        Ok(Self { handle, connection })
    }

    pub(crate) async fn index(&self, link: &str) -> Result<Option<u32>, NetworkError> {
        match self.handle.link().get().match_name(link).execute().try_next().await {
            Ok(found) => Ok(found.map(|m| m.header.index)),
            Err(e) if errno(&e) == libc::ENODEV => Ok(None),
            Err(e) => Err(failed("look up", link)(e)),
        }
    }

    /// Of a link that must be there.
    pub(crate) async fn index_of(&self, link: &str) -> Result<u32, NetworkError> {
        self.index(link).await?.ok_or_else(|| failed("find", link)(rtnetlink::Error::RequestFailed))
    }

    /// (name, index) of every link whose name starts so.
    pub(crate) async fn with_prefix(&self, prefix: &str) -> Result<Vec<(String, u32)>, NetworkError> {
        let all: Vec<LinkMessage> = self.handle.link().get().execute().try_collect().await.map_err(failed("list", prefix))?;
        let found = all.iter().filter_map(|m| Some((name(m)?.to_owned(), m.header.index)));
        Ok(found.filter(|(name, _)| name.starts_with(prefix)).collect())
    }

    /// Creates the bridge, or finds it; answers its index and whether it is new.
    pub(crate) async fn ensure_bridge(&self, bridge: &str, gateway: IpAddr) -> Result<(u32, bool), NetworkError> {
        if let Some(index) = self.index(bridge).await? {
            return Ok((index, false));
        }
        // With no address of its own it would take its lowest port's, and change it as pods come and go.
        let message = LinkBridge::new(bridge).address(mac(gateway).to_vec()).build();
        let made = self.handle.link().add(message).execute().await;
        made.or_else(unless(libc::EEXIST)).map_err(failed("create bridge", bridge))?;
        Ok((self.index_of(bridge).await?, true))
    }

    /// Makes a pair whose inner end is in the namespace already and still down: the kernel refuses
    /// to bring up the end that it makes first. A left-over of the same name is replaced.
    pub(crate) async fn add_pair(&self, pair: &Pair<'_>) -> Result<(), NetworkError> {
        let inside = rtnetlink::LinkMessageBuilder::<LinkUnspec>::new()
            .name(pair.inside)
            .address(pair.mac.to_vec())
            .mtu(pair.mtu)
            .setns_by_fd(pair.namespace.as_raw_fd())
            .build();
        let message = LinkVeth::new(pair.outside, pair.inside)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(inside)))
            .mtu(pair.mtu)
            .controller(pair.bridge)
            .up()
            .build();
        let first = self.handle.link().add(message.clone()).execute().await;
        let done = match first {
            Err(e) if errno(&e) == libc::EEXIST => {
                self.delete(pair.outside).await?;
                self.handle.link().add(message).execute().await
            }
            other => other,
        };
        done.map_err(failed("create veth", pair.outside))
    }

    /// Waits until the kernel has noticed that a link's other end is up: until then the bridge drops what comes, and a first
    /// connection would lose a second to its retransmission. Gives up after a second; the pod then only starts slowly.
    pub(crate) async fn carrier(&self, link: &str) -> Result<(), NetworkError> {
        for _ in 0..1000 {
            let found = self.handle.link().get().match_name(link).execute().try_next().await.map_err(failed("look up", link))?;
            let up = |a: &LinkAttribute| matches!(a, LinkAttribute::OperState(State::Up));
            if found.is_none_or(|m| m.attributes.iter().any(up)) {
                return Ok(());
            }
            // Reading it makes the kernel take notice now; by itself it may take its time, a second at worst.
            let _ = std::fs::read_to_string(format!("/sys/class/net/{link}/carrier"));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tracing::warn!(link, "the kernel does not report the link as up");
        Ok(())
    }

    /// No error when there is none.
    pub(crate) async fn delete(&self, link: &str) -> Result<(), NetworkError> {
        let Some(index) = self.index(link).await? else { return Ok(()) };
        let deleted = self.handle.link().del(index).execute().await;
        deleted.or_else(unless(libc::ENODEV)).map_err(failed("delete", link))
    }

    pub(crate) async fn up(&self, index: u32, link: &str) -> Result<(), NetworkError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().set(message).execute().await.map_err(failed("bring up", link))
    }

    pub(crate) async fn loopback_up(&self) -> Result<(), NetworkError> {
        self.up(LOOPBACK, "lo").await
    }

    pub(crate) async fn attach(&self, index: u32, link: &str, bridge: u32) -> Result<(), NetworkError> {
        let message = LinkUnspec::new_with_index(index).controller(bridge).up().build();
        self.handle.link().set(message).execute().await.map_err(failed("attach to the bridge", link))
    }

    pub(crate) async fn hairpin(&self, index: u32, link: &str) -> Result<(), NetworkError> {
        let message = LinkBridgePort::new(index).hairpin(true).build();
        self.handle.link().set_port(message).execute().await.map_err(failed("allow hairpin on", link))
    }

    /// No error when it is there. It is used at once: nobody else on the link can have it.
    pub(crate) async fn add_address(&self, index: u32, link: &str, address: IpAddr, prefix: u8) -> Result<(), NetworkError> {
        let mut add = self.handle.address().add(index, address, prefix);
        if address.is_ipv6() {
            add.message_mut().header.flags.insert(AddressHeaderFlags::Nodad);
        }
        let added = add.execute().await;
        added.or_else(unless(libc::EEXIST)).map_err(failed("add an address to", link))
    }

    /// No error when it is not there.
    pub(crate) async fn delete_address(&self, link: &str, address: IpAddr) -> Result<(), NetworkError> {
        let find = self.handle.address().get().set_address_filter(address).execute();
        let found: Vec<_> = find.try_collect().await.map_err(failed("list the addresses of", link))?;
        for message in found {
            let deleted = self.handle.address().del(message).execute().await;
            deleted.or_else(unless(libc::EADDRNOTAVAIL)).map_err(failed("remove an address from", link))?;
        }
        Ok(())
    }

    /// To the subnet directly and to everywhere else by its gateway; no error when they are there.
    pub(crate) async fn add_routes(&self, index: u32, link: &str, subnet: Subnet, on_link: bool) -> Result<(), NetworkError> {
        if on_link {
            let mut direct = route_to(subnet, index);
            direct.header.scope = RouteScope::Link;
            let added = self.handle.route().add(direct).execute().await;
            added.or_else(unless(libc::EEXIST)).map_err(failed("add the pods' route to", link))?;
        }
        let mut default = route_to(Subnet::containing(subnet.network(), 0), index);
        default.attributes.push(RouteAttribute::Gateway(route_address(subnet.gateway())));
        let added = self.handle.route().add(default).execute().await;
        added.or_else(unless(libc::EEXIST)).map_err(failed("add the default route to", link))
    }

    /// Leads a range of service addresses to the bridge, for programs of the machine: they then come from the gateway's address,
    /// also where the machine has no way to anywhere else. No error when there is a way already.
    pub(crate) async fn add_service_route(
        &self,
        bridge: u32,
        link: &str,
        range: Subnet,
        gateway: IpAddr,
    ) -> Result<(), NetworkError> {
        let mut route = route_to(range, bridge);
        route.header.scope = RouteScope::Link;
        route.attributes.push(RouteAttribute::PrefSource(route_address(gateway)));
        let added = self.handle.route().add(route).execute().await;
        added.or_else(unless(libc::EEXIST)).map_err(failed("add the services' route to", link))
    }

    /// Every range this machine has an address or a route in, but for default routes and those of the links `except`.
    pub(crate) async fn occupied(&self, except: &[u32]) -> Result<Vec<Subnet>, NetworkError> {
        let mut ranges = Vec::new();
        let addresses: Vec<_> = self.handle.address().get().execute().try_collect().await.map_err(failed("list", "addresses"))?;
        for message in addresses.iter().filter(|m| !except.contains(&m.header.index)) {
            for attribute in &message.attributes {
                if let AddressAttribute::Address(ip) = attribute {
                    ranges.push(Subnet::containing(*ip, message.header.prefix_len));
                }
            }
        }
        for route in self.routes().await? {
            let of_except = |a: &RouteAttribute| matches!(a, RouteAttribute::Oif(index) if except.contains(index));
            if route.header.destination_prefix_length == 0 || route.attributes.iter().any(of_except) {
                continue;
            }
            let destination = |a: &RouteAttribute| if let RouteAttribute::Destination(ip) = a { address_of(ip) } else { None };
            let prefix = route.header.destination_prefix_length;
            ranges.extend(route.attributes.iter().filter_map(destination).map(|ip| Subnet::containing(ip, prefix)));
        }
        Ok(ranges)
    }

    /// A global address of the other family on the link that has `address`.
    pub(crate) async fn sibling(&self, address: IpAddr) -> Result<Option<IpAddr>, NetworkError> {
        let all: Vec<_> = self.handle.address().get().execute().try_collect().await.map_err(failed("list", "addresses"))?;
        let address_of = |message: &AddressMessage| {
            let find = |a: &AddressAttribute| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None };
            message.attributes.iter().find_map(find)
        };
        let link = all.iter().find(|message| address_of(message) == Some(address)).map(|message| message.header.index);
        let own =
            all.iter().filter(|message| Some(message.header.index) == link && message.header.scope == AddressScope::Universe);
        // Temporary ones (RFC 8981) are for what the machine asks of others.
        let lasting = own.filter(|message| !message.header.flags.contains(AddressHeaderFlags::Secondary));
        Ok(lasting.filter_map(address_of).find(|other| other.is_ipv4() != address.is_ipv4()))
    }

    /// All routes of both families.
    pub(crate) async fn routes(&self) -> Result<Vec<RouteMessage>, NetworkError> {
        let mut all = Vec::new();
        for family in Family::ALL {
            let some = self.handle.route().get(any_route(family)).execute();
            all.extend(some.try_collect::<Vec<_>>().await.map_err(failed("list", "routes"))?);
        }
        Ok(all)
    }
}
