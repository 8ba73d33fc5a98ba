//! The machine around the cluster: its address, its MTU, its sysctls.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use nix::ifaddrs::getifaddrs;

use crate::NetworkError;
use crate::state::io;

/// The address that packets to elsewhere leave with, or any that is not loopback, or 127.0.0.1.
pub(crate) fn primary_address() -> IpAddr {
    routed_address().or_else(any_address).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// Connecting a UDP socket asks the routing table and sends nothing; the address is one that documentation reserves.
fn routed_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

fn interfaces() -> Vec<(String, Ipv4Addr)> {
    let all = getifaddrs().into_iter().flatten();
    all.filter_map(|i| Some((i.interface_name, i.address?.as_sockaddr_in()?.ip()))).collect()
}

fn any_address() -> Option<IpAddr> {
    let usable = |(name, ip): &(String, Ipv4Addr)| !ip.is_loopback() && !name.starts_with("mz");
    interfaces().into_iter().find(usable).map(|(_, ip)| ip.into())
}

/// Writes `/proc/sys/<name>` in the calling thread's namespaces.
pub(crate) fn sysctl(name: &str, value: &str) -> Result<(), NetworkError> {
    let path = Path::new("/proc/sys").join(name);
    // Reading is always allowed and mostly enough: on some machines the file is read-only and right.
    if std::fs::read_to_string(&path).is_ok_and(|now| now.split_whitespace().eq(value.split_whitespace())) {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(io("write", &path))
}

/// Has the machine forward packets of IPv6. Links that learn their routes from routers go on doing so: by default a machine
/// that forwards does not.
pub(crate) fn forward_v6() -> Result<(), NetworkError> {
    let conf = Path::new("/proc/sys/net/ipv6/conf");
    let links = std::fs::read_dir(conf).map_err(|source| NetworkError::NoIpv6 { source })?;
    for link in links.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if std::fs::read_to_string(conf.join(&link).join("accept_ra")).is_ok_and(|now| now.trim() == "1") {
            try_sysctl(&format!("net/ipv6/conf/{link}/accept_ra"), "2");
        }
    }
    sysctl("net/ipv6/conf/all/forwarding", "1")
}

/// Where the kernel may lack the file, and doing without is possible.
pub(crate) fn try_sysctl(name: &str, value: &str) {
    if let Err(error) = sysctl(name, value) {
        tracing::debug!(%error, "sysctl not set");
    }
}
