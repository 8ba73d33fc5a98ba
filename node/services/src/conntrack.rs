//! Connections that the kernel remembers (conntrack; the attributes are those of `linux/netfilter/nfnetlink_conntrack.h`).
//!
//! UDP knows no end of a connection: while a client goes on sending from one port, the kernel goes on leading it to the endpoint
//! that it once had, though that is gone. And what began while no rule led it is led nowhere as long as its client tries again.

use std::io;
use std::net::IpAddr;

use mizzen_network::Family;
use mizzen_network::netlink::{Netlink, attribute, attributes};

use crate::forget::Stale;

const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;

const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
/// (source, destination)
const IPV4: (u16, u16) = (1, 2);
const IPV6: (u16, u16) = (3, 4);
const PROTO_NUMBER: u16 = 1;
const PROTO_SOURCE_PORT: u16 = 2;
const UDP: u8 = 17;

/// Makes the kernel forget connections of a family that are stale; answers how many there were.
///
/// # Errors
/// When the kernel refuses, because it has no connection tracking over netlink, say.
pub fn forget(family: Family, stale: &Stale) -> io::Result<usize> {
    let netlink = Netlink::open(family)?;
    let mut entries = Vec::new();
    netlink.dump(GET, &[], |attributes| entries.extend(stale_entry(attributes, stale)))?;
    for entry in &entries {
        match netlink.act(DELETE, entry) {
            // It has ended by itself.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(entries.len())
}

/// What to name an entry by to delete it, if it is stale.
fn stale_entry(entry: &[u8], stale: &Stale) -> Option<Vec<u8>> {
    let (orig, reply) = (attribute(entry, TUPLE_ORIG)?, attribute(entry, TUPLE_REPLY)?);
    let protocol = attribute(reply, TUPLE_PROTO)?;
    let is_udp = attribute(protocol, PROTO_NUMBER)? == [UDP];
    let port = u16::from_be_bytes(*attribute(protocol, PROTO_SOURCE_PORT)?.first_chunk()?);
    let backend = (ends(reply)?.0, port);
    let is_stale = stale.has(is_udp, ends(orig)?.1, &backend);
    let names = attributes(entry).filter(|(kind, ..)| matches!(*kind, TUPLE_ORIG | ZONE));
    is_stale.then(|| names.flat_map(|(_, _, whole)| whole.to_vec()).collect())
}

/// Source and destination of a tuple.
fn ends(tuple: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let ip = attribute(tuple, TUPLE_IP)?;
    let v4 = |which| Some(IpAddr::from(*attribute(ip, which)?.first_chunk::<4>()?));
    let v6 = |which| Some(IpAddr::from(*attribute(ip, which)?.first_chunk::<16>()?));
    v4(IPV4.0).zip(v4(IPV4.1)).or_else(|| v6(IPV6.0).zip(v6(IPV6.1)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mizzen_network::netlink::{NESTED, attribute_of};

    use super::*;
    use crate::forget::Strays;

    fn nested(kind: u16, content: &[u8]) -> Vec<u8> {
        attribute_of(kind | NESTED, content)
    }

    fn tuple(kind: u16, protocol: u8, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Vec<u8> {
        let ip = [nested(IPV4.0, &from.0), nested(IPV4.1, &to.0)].concat();
        let ports = [nested(2, &from.1.to_be_bytes()), nested(3, &to.1.to_be_bytes())].concat();
        let proto = [nested(PROTO_NUMBER, &[protocol]), ports].concat();
        nested(kind, &[nested(TUPLE_IP, &ip), nested(TUPLE_PROTO, &proto)].concat())
    }

    #[test]
    fn only_what_was_led_to_one_that_is_gone_is_forgotten() {
        let (client, service, endpoint) = (([10, 64, 0, 2], 5000), ([10, 96, 0, 10], 53), ([10, 64, 0, 7], 5353));
        let known = BTreeSet::from([(endpoint.0.into(), endpoint.1)]);
        let gone = Stale { gone: known.clone(), strays: None };
        let led = tuple(TUPLE_ORIG, UDP, client, service);
        let entry = [led.clone(), tuple(TUPLE_REPLY, UDP, endpoint, client)].concat();
        assert_eq!(stale_entry(&entry, &gone), Some(led));
        assert_eq!(stale_entry(&entry, &Stale::default()), None);
        let tcp = [tuple(TUPLE_ORIG, 6, client, service), tuple(TUPLE_REPLY, 6, endpoint, client)].concat();
        assert_eq!(stale_entry(&tcp, &gone), None);
        let direct = [tuple(TUPLE_ORIG, UDP, client, endpoint), tuple(TUPLE_REPLY, UDP, endpoint, client)].concat();
        assert_eq!(stale_entry(&direct, &gone), None);
        assert_eq!(stale_entry(&entry[..20], &gone), None, "cut off");
        let both = [nested(IPV6.0, &[1; 16]), nested(IPV6.1, &[2; 16])].concat();
        assert_eq!(ends(&nested(TUPLE_IP, &both)), Some(([1; 16].into(), [2; 16].into())));
        let strays = |service: [u8; 4], endpoints: &BTreeSet<_>| Stale {
            strays: Some(Strays {
                services: BTreeSet::from([service.into()]),
                endpoints: endpoints.clone(),
                ranges: vec!["10.96.0.0/24".parse().unwrap()],
            }),
            ..Stale::default()
        };
        assert!(stale_entry(&entry, &strays(service.0, &BTreeSet::new())).is_some());
        assert_eq!(stale_entry(&entry, &strays(service.0, &known)), None, "it is an endpoint");
        assert_eq!(stale_entry(&entry, &strays([10, 96, 0, 11], &BTreeSet::new())), None, "it went to no service");
        let unled = tuple(TUPLE_ORIG, 6, client, service);
        let entry = [unled.clone(), tuple(TUPLE_REPLY, 6, service, client)].concat();
        assert_eq!(stale_entry(&entry, &strays(service.0, &known)), Some(unled));
        assert_eq!(stale_entry(&direct, &strays(service.0, &known)), None, "it asks for no service");
        assert_eq!(stale_entry(&tcp, &strays(service.0, &BTreeSet::new())), None, "TCP says itself when it ends");
    }
}
