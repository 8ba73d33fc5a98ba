//! What the machine has to offer a cluster: rights, cgroups, addresses, a name.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::bail;

/// # Errors
/// When `command` cannot run a node here; the text says why.
pub fn require_usable(command: &str) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("{command} must run as root: it makes namespaces, mounts and cgroups");
    }
    let v1 = std::path::Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists();
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|controllers| controllers.contains("memory"));
    if !v1 && !v2 {
        bail!("no usable cgroups: neither /sys/fs/cgroup/memory (v1) nor the memory controller in /sys/fs/cgroup (v2) is there");
    }
    Ok(())
}

pub fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok())
}

/// All addresses of the machine.
pub fn addresses() -> Vec<IpAddr> {
    let of = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(of).collect()
}

/// The address that packets to `peer` leave with; `None` when it is on this machine or cannot be reached. (Connecting a UDP
/// socket asks the routing table and sends nothing.)
pub fn address_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if peer.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified() && address != peer.ip()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_the_machine_itself_tells_no_address() {
        assert_eq!(address_towards(([127, 0, 0, 1], 6443).into()), None);
        assert!(addresses().contains(&IpAddr::from([127, 0, 0, 1])));
    }
}
