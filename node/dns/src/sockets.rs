//! Sockets of one address among which the kernel deals datagrams out by their senders: what one client sends fills the buffer of
//! one of them, and others' questions wait in others.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::ptr;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt};
use tokio::net::UdpSocket;

/// The addresses of a node's pods follow each other, so that as many pods share no socket.
const SOCKETS: u32 = 64;
/// Where a sender's address, or what tells senders of a network apart, begins in the header: four bytes.
const IPV4_SENDER: u32 = 12;
const IPV6_SENDER: u32 = 20;

/// # Errors
/// When the address cannot be bound, or the kernel does not take the program that deals out.
pub(crate) fn open(address: SocketAddr) -> io::Result<Vec<UdpSocket>> {
    let first = one(address)?;
    deal_by_sender(&first, if address.is_ipv4() { IPV4_SENDER } else { IPV6_SENDER })?;
    // Of the same number, where the kernel picked it.
    let address = first.local_addr()?;
    std::iter::once(Ok(first)).chain((1..SOCKETS).map(|_| one(address))).collect()
}

fn one(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReusePort, &true)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    UdpSocket::from_std(socket.into())
}

/// Of sockets that are bound to one address: which of them has a datagram is the number of its sender's address modulo theirs (classic BPF;
/// `SO_ATTACH_REUSEPORT_CBPF` of socket(7)).
fn deal_by_sender(socket: &UdpSocket, sender: u32) -> io::Result<()> {
    let instruction = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (libc::SKF_NET_OFF as u32).wrapping_add(sender)),
        instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, SOCKETS),
        instruction(libc::BPF_RET | libc::BPF_A, 0),
    ];
    let described = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel reads a `sock_fprog` of this size and as many instructions as it says; both live until the call ends.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            ptr::from_ref(&described).cast(),
            size_of_val(&described) as libc::socklen_t,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The numbers of those that this many datagrams have come by.
    async fn come_by(sockets: &[UdpSocket], count: usize) -> Vec<usize> {
        let (mut numbers, mut buffer) = (Vec::new(), [0; 8]);
        while numbers.len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
            for (number, socket) in sockets.iter().enumerate() {
                numbers.extend(std::iter::from_fn(|| socket.try_recv_from(&mut buffer).ok()).map(|_| number));
            }
        }
        numbers
    }

    #[tokio::test]
    async fn what_a_client_sends_comes_by_one_socket_and_what_its_neighbour_sends_by_another() {
        let sockets = open("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = sockets[0].local_addr().unwrap();
        let mut seen = Vec::new();
        for client in ["127.0.0.4:0", "127.0.0.4:0", "127.0.0.5:0", "127.0.0.68:0"] {
            let client = UdpSocket::bind(client).await.unwrap();
            for _ in 0..3 {
                client.send_to(b"x", address).await.unwrap();
            }
            seen.extend(come_by(&sockets, 3).await);
        }
        assert!(seen[..6].iter().all(|socket| *socket == seen[0]), "of one address, whatever the port: {seen:?}");
        assert!(seen[6] != seen[0] && seen[9] == seen[0], "modulo the number of sockets: {seen:?}");
    }
}
