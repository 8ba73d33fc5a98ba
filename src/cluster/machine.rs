//! What the machine has to offer a cluster: rights, cgroups, addresses, a name.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::bail;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::AccessFlags;

use super::executables;

/// # Errors
/// When `command`, which does what `why` says, is not run by root.
pub fn require_root(command: &str, why: &str) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("{command} must run as root: it {why} namespaces, mounts and cgroups");
    }
    Ok(())
}

/// # Errors
/// When `command` cannot run a node here; the text says why.
pub fn require_usable(command: &str) -> anyhow::Result<()> {
    require_root(command, "makes")?;
    require_cgroups(Path::new("/sys/fs/cgroup"))?;
    for program in ["mizzen-shim", "mizzen-wasm"] {
        executables::beside(program)?;
    }
    Ok(())
}

/// Lets the process have as many files and connections open as it may. Programs that it starts say for themselves.
pub fn allow_many_connections() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "raise the limit of open files");
    }
}

fn require_cgroups(root: &Path) -> anyhow::Result<()> {
    let (v1, v2) = (root.join("memory"), root.to_owned());
    let has_v1 = v1.join("cgroup.procs").exists();
    let has_v2 = std::fs::read_to_string(v2.join("cgroup.controllers")).is_ok_and(|controllers| controllers.contains("memory"));
    let used = match (has_v1, has_v2) {
        (true, _) => v1,
        (false, true) => v2,
        (false, false) => {
            bail!("no usable cgroups: neither {} (v1) nor the memory controller in {} (v2) is there", v1.display(), v2.display())
        }
    };
    if let Err(error) = nix::unistd::access(&used, AccessFlags::W_OK) {
        bail!("no usable cgroups: {} cannot be written: {}", used.display(), error.desc());
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

/// Where other machines reach this one, if they reach a server that listens at this address.
pub fn reached_at(listening: IpAddr) -> Option<IpAddr> {
    match listening {
        ip if ip.is_loopback() => None,
        // An address that documentation reserves: one of elsewhere.
        ip if ip.is_unspecified() => address_towards(([198, 51, 100, 1], 9).into()).or_else(first_address),
        ip => Some(ip),
    }
}

fn first_address() -> Option<IpAddr> {
    let is_link_local = |v4: &std::net::Ipv4Addr| v4.is_link_local() || v4.is_loopback();
    addresses().into_iter().find(|ip| matches!(ip, IpAddr::V4(v4) if !is_link_local(v4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_of_either_version_are_usable_and_their_lack_is_said() {
        let root = tempfile::tempdir().expect("a folder");
        let said = require_cgroups(root.path()).expect_err("there are none").to_string();
        assert!(said.contains("neither") && said.contains("memory (v1)"), "{said}");
        std::fs::write(root.path().join("cgroup.controllers"), "cpu memory pids\n").expect("writes");
        require_cgroups(root.path()).expect("has v2");
        std::fs::create_dir(root.path().join("memory")).expect("makes");
        std::fs::write(root.path().join("memory/cgroup.procs"), "").expect("writes");
        require_cgroups(root.path()).expect("has v1");
    }

    #[test]
    fn a_server_on_the_machine_itself_tells_no_address() {
        assert_eq!(address_towards(([127, 0, 0, 1], 6443).into()), None);
        assert!(addresses().contains(&IpAddr::from([127, 0, 0, 1])));
    }
}
