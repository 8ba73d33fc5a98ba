//! Echo requests (RFC 792, RFC 4443), and who answers them: any machine's kernel does, without a program.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recvfrom, sendto, socket};

use crate::Family;
use crate::announce::checksum;

/// A socket for one family, in the network namespace of the thread that made it.
pub(crate) struct Echo {
    socket: OwnedFd,
    family: Family,
    /// By which its answers are known from those to others of this machine.
    own: [u8; 8],
}

impl Echo {
    /// `own` is this cluster's on this machine.
    pub(crate) fn open(family: Family, own: u32) -> io::Result<Self> {
        let (domain, protocol) = match family {
            Family::V4 => (AddressFamily::Inet, SockProtocol::Icmp),
            Family::V6 => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let [a, b, c, d] = own.to_be_bytes();
        // Identifier and sequence number, the latter always the same: any answer says that there is a way. And the data.
        let echo =
            Self { socket: socket(domain, SockType::Raw, flags, protocol)?, family, own: [a ^ c, b ^ d, 0, 1, a, b, c, d] };
        echo.keep_others_out()?;
        Ok(echo)
    }

    /// Answers to somebody else's many requests would leave no room for ours.
    fn keep_others_out(&self) -> io::Result<()> {
        let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k };
        let (load_byte, load_half) = (libc::BPF_LD | libc::BPF_B | libc::BPF_IND, libc::BPF_LD | libc::BPF_H | libc::BPF_IND);
        let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        let start = match self.family {
            // The length of the IP header, which is part of what is received.
            Family::V4 => step(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
            Family::V6 => step(libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM, 0, 0, 0),
        };
        let id = u16::from_be_bytes([self.own[0], self.own[1]]);
        let mut program = [
            start,
            step(load_byte, 0, 0, 0),
            step(equals, 0, 3, u32::from(self.reply())),
            step(load_half, 0, 0, 4),
            step(equals, 0, 1, u32::from(id)),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        ];
        let filter = libc::sock_fprog { len: u16::try_from(program.len()).unwrap_or(0), filter: program.as_mut_ptr() };
        let size = libc::socklen_t::try_from(size_of_val(&filter)).unwrap_or_default();
        let (socket, option) = (self.socket.as_raw_fd(), std::ptr::from_ref(&filter).cast());
        // SAFETY: the kernel copies the program, which lives until the call returns, with the length that is given.
        let set = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, option, size) };
        if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn request(&self) -> u8 {
        match self.family {
            Family::V4 => 8,
            Family::V6 => 128,
        }
    }

    fn reply(&self) -> u8 {
        match self.family {
            Family::V4 => 0,
            Family::V6 => 129,
        }
    }

    /// Sends a request; `Err` when the machine has no way to the address, or a rule of its own against it.
    pub(crate) fn ask(&self, address: IpAddr) -> io::Result<()> {
        let mut message = [&[self.request(), 0, 0, 0], &self.own[..]].concat();
        if self.family == Family::V4 {
            // Of IPv6 it covers addresses as well, and is the kernel's.
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        let to = SockaddrStorage::from(SocketAddr::new(address, 0));
        sendto(self.socket.as_raw_fd(), &message, &to, MsgFlags::empty())?;
        Ok(())
    }

    /// Who has answered since the last call.
    pub(crate) fn answers(&self) -> io::Result<Vec<IpAddr>> {
        let mut all = Vec::new();
        let mut buffer = [0; 128];
        loop {
            match recvfrom::<SockaddrStorage>(self.socket.as_raw_fd(), &mut buffer) {
                // The data of others that have the same number by chance is not ours.
                Ok((length, from)) if buffer[..length].ends_with(&self.own) => all.extend(from.and_then(|from| ip(&from))),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(all),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn ip(from: &SockaddrStorage) -> Option<IpAddr> {
    let four = || from.as_sockaddr_in().map(|from| IpAddr::from(from.ip()));
    from.as_sockaddr_in6().map(|from| IpAddr::from(from.ip())).or_else(four)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::{Duration, Instant};

    use super::*;

    fn answered(echo: &Echo) -> Vec<IpAddr> {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let answers = echo.answers().unwrap();
            if !answers.is_empty() || Instant::now() > until {
                return answers;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_machine_answers_by_both_families_and_each_hears_of_its_own_requests_only() {
        for (family, loopback) in [(Family::V4, IpAddr::V4(Ipv4Addr::LOCALHOST)), (Family::V6, IpAddr::V6(Ipv6Addr::LOCALHOST))] {
            // Not root.
            let Ok(echo) = Echo::open(family, 0x0102_0304) else { return };
            let others = [0x0102_0305, 0x0304_0102].map(|own| Echo::open(family, own).unwrap());
            if family == Family::V6 && echo.ask(loopback).is_err() {
                // A machine without IPv6.
                return;
            }
            echo.ask(loopback).unwrap();
            assert_eq!(answered(&echo)[0], loopback);
            assert!(others.iter().all(|other| other.answers().unwrap().is_empty()));
        }
    }
}
