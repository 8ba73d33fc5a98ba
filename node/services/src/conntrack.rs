//! Connections that the kernel remembers (conntrack, over netlink; the attributes are those of
//! `linux/netfilter/nfnetlink_conntrack.h`).
//!
//! UDP knows no end of a connection: while a client goes on sending from one port, the kernel goes on leading it to the endpoint
//! that it once had, though that is gone.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};

use crate::endpoints::Backend;

const HEADER: usize = 16;
/// Family, version and resource of a netfilter message.
const GENERIC: usize = 4;
const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const IP_SOURCE: u16 = 1;
const IP_DESTINATION: u16 = 2;
const PROTO_NUMBER: u16 = 1;
const PROTO_SOURCE_PORT: u16 = 2;
const UDP: u8 = 17;

/// Makes the kernel forget UDP connections that it leads to `gone`; answers how many there were.
///
/// # Errors
/// When the kernel refuses, because it has no connection tracking over netlink, say.
pub fn forget_udp(gone: &BTreeSet<Backend>) -> io::Result<usize> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    send(&socket, &message(GET, REQUEST | DUMP, &[]))?;
    let mut stale = Vec::new();
    receive(&socket, |attributes| stale.extend(stale_entry(attributes, gone)))?;
    for entry in &stale {
        send(&socket, &message(DELETE, REQUEST | ACK, entry))?;
        match receive(&socket, |_| {}) {
            // It has ended by itself.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(stale.len())
}

fn send(socket: &OwnedFd, message: &[u8]) -> io::Result<()> {
    sendto(socket.as_raw_fd(), message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    Ok(())
}

/// Reads until the answer ends, giving the attributes of each message.
fn receive(socket: &OwnedFd, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, after)) = split_message(rest) {
            match kind {
                DONE => return Ok(()),
                ERROR => {
                    let code = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                    return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                _ => each(body.get(GENERIC..).unwrap_or_default()),
            }
            rest = after;
        }
    }
}

fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + GENERIC + attributes.len()).unwrap_or(u32::MAX);
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([u8::try_from(nix::libc::AF_INET).unwrap_or(0), 0, 0, 0]);
    message.extend(attributes);
    message
}

/// Kind and body of the first message, and what follows it.
fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// (kind, content, the whole attribute) of each.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8], &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & 0x3fff;
        let padded = length.next_multiple_of(4);
        let (whole, content) = (bytes.get(..padded).unwrap_or(bytes), bytes.get(4..length)?);
        bytes = bytes.get(padded..).unwrap_or_default();
        Some((kind, content, whole))
    })
}

fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(of, ..)| *of == kind).map(|(_, content, _)| content)
}

/// What to name an entry by to delete it, if it leads UDP to one that is gone.
fn stale_entry(entry: &[u8], gone: &BTreeSet<Backend>) -> Option<Vec<u8>> {
    let (orig, reply) = (attribute(entry, TUPLE_ORIG)?, attribute(entry, TUPLE_REPLY)?);
    if attribute(attribute(reply, TUPLE_PROTO)?, PROTO_NUMBER)? != [UDP] {
        return None;
    }
    let address = |tuple, which| Some(Ipv4Addr::from(*attribute(attribute(tuple, TUPLE_IP)?, which)?.first_chunk::<4>()?));
    let port = u16::from_be_bytes(*attribute(attribute(reply, TUPLE_PROTO)?, PROTO_SOURCE_PORT)?.first_chunk()?);
    let backend = (address(reply, IP_SOURCE)?, port);
    // What goes to the endpoint by its own address was led by nobody.
    let is_led = address(orig, IP_DESTINATION)? != backend.0;
    let names = attributes(entry).filter(|(kind, ..)| matches!(*kind, TUPLE_ORIG | ZONE));
    (is_led && gone.contains(&backend)).then(|| names.flat_map(|(_, _, whole)| whole.to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(kind: u16, content: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + content.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend((kind | 0x8000).to_ne_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn tuple(kind: u16, protocol: u8, from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Vec<u8> {
        let ip = [nested(IP_SOURCE, &from.0), nested(IP_DESTINATION, &to.0)].concat();
        let ports = [nested(2, &from.1.to_be_bytes()), nested(3, &to.1.to_be_bytes())].concat();
        let proto = [nested(PROTO_NUMBER, &[protocol]), ports].concat();
        nested(kind, &[nested(TUPLE_IP, &ip), nested(TUPLE_PROTO, &proto)].concat())
    }

    #[test]
    fn only_what_was_led_to_one_that_is_gone_is_forgotten() {
        let (client, service, endpoint) = (([10, 64, 0, 2], 5000), ([10, 96, 0, 10], 53), ([10, 64, 0, 7], 5353));
        let gone = BTreeSet::from([(endpoint.0.into(), endpoint.1)]);
        let led = tuple(TUPLE_ORIG, UDP, client, service);
        let entry = [led.clone(), tuple(TUPLE_REPLY, UDP, endpoint, client)].concat();
        assert_eq!(stale_entry(&entry, &gone), Some(led));
        assert_eq!(stale_entry(&entry, &BTreeSet::new()), None);
        let tcp = [tuple(TUPLE_ORIG, 6, client, service), tuple(TUPLE_REPLY, 6, endpoint, client)].concat();
        assert_eq!(stale_entry(&tcp, &gone), None);
        let direct = [tuple(TUPLE_ORIG, UDP, client, endpoint), tuple(TUPLE_REPLY, UDP, endpoint, client)].concat();
        assert_eq!(stale_entry(&direct, &gone), None);
        assert_eq!(stale_entry(&entry[..20], &gone), None, "cut off");
    }
}
