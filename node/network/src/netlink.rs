//! Netfilter's netlink, as far as it is needed here (`linux/netlink.h`, `linux/netfilter/nfnetlink.h`).

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};

use crate::Family;

const HEADER: usize = 16;
/// Family, version and resource of a netfilter message.
const GENERIC: usize = 4;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// In the type of an attribute that has attributes.
pub const NESTED: u16 = 0x8000;

/// `NFT_MSG_GETRULE`, and the attributes that say of what.
const GET_RULE: u16 = (10 << 8) | 7;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;

/// A socket in the calling thread's network namespace.
pub struct Netlink {
    socket: OwnedFd,
    family: Family,
}

impl Netlink {
    /// To ask about what is of one family.
    ///
    /// # Errors
    /// When the kernel has no netfilter.
    pub fn open(family: Family) -> io::Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
        Ok(Self { socket, family })
    }

    /// Gives the attributes of everything that is asked for to `each`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn dump(&self, kind: u16, attributes: &[u8], each: impl FnMut(&[u8])) -> io::Result<()> {
        self.send(&message(self.family, kind, REQUEST | DUMP, attributes))?;
        self.receive(each)
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn act(&self, kind: u16, attributes: &[u8]) -> io::Result<()> {
        self.send(&message(self.family, kind, REQUEST | ACK, attributes))?;
        self.receive(|_| {})
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        sendto(self.socket.as_raw_fd(), message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        Ok(())
    }

    /// Reads until the answer ends.
    fn receive(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
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
}

/// How many rules a chain of a table has; the `nft` command would read all elements of all maps to tell.
///
/// # Errors
/// When there is no such chain.
pub fn count_rules(family: Family, table: &str, chain: &str) -> io::Result<usize> {
    let text = |kind, text: &str| attribute_of(kind, &[text.as_bytes(), &[0]].concat());
    let mut count = 0;
    Netlink::open(family)?.dump(GET_RULE, &[text(RULE_TABLE, table), text(RULE_CHAIN, chain)].concat(), |_| count += 1)?;
    Ok(count)
}

fn message(family: Family, kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + GENERIC + attributes.len()).unwrap_or(u32::MAX);
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family.number(), 0, 0, 0]);
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
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8], &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & !(NESTED | 0x4000);
        let padded = length.next_multiple_of(4);
        let (whole, content) = (bytes.get(..padded).unwrap_or(bytes), bytes.get(4..length)?);
        bytes = bytes.get(padded..).unwrap_or_default();
        Some((kind, content, whole))
    })
}

pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(of, ..)| *of == kind).map(|(_, content, _)| content)
}

/// An attribute as it is sent.
pub fn attribute_of(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + content.len()).unwrap_or(u16::MAX).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
