//! Machines for trying out several nodes on one: network namespaces on a link of the cluster's own, beside this machine.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::links::{Links, Pair, mac};
use crate::machine::{forward_v6, sysctl};
use crate::namespace::{self, Wanted};
use crate::{NetworkConfig, NetworkError, Subnet, firewall, nft, state};

/// Where the link's range is picked from: 512 of /24 of those that RFC 2544 sets aside, none of which is any pod's or service's.
const POOL: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);
const POOL_SIZE: u32 = 1 << 9;
const INTERFACE: &str = "eth0";

/// The link, with this machine on it.
pub struct Machines {
    config: NetworkConfig,
    links: Links,
    subnet: Subnet,
    /// Of IPv6, where pods have addresses of it.
    second: Option<Subnet>,
    bridge: u32,
    mtu: u32,
}

/// One of the machines.
#[derive(Clone)]
pub struct Machine {
    pub address: IpAddr,
    pin: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct LinkState {
    subnet: Subnet,
}

impl Machines {
    /// Makes the link, or finds it. `second` is its range of IPv6.
    ///
    /// # Errors
    /// When the kernel refuses, or no range is free.
    pub async fn open(config: &NetworkConfig, second: Option<Subnet>) -> Result<Self, NetworkError> {
        config.check()?;
        let links = Links::connect()?;
        let (name, pins) = (config.machines_link(), config.machines_dir());
        std::fs::create_dir_all(&pins).map_err(state::io("create", &pins))?;
        let existing = links.index(&name).await?;
        let occupied = links.occupied(existing.as_slice()).await?;
        let file = config.machines_file();
        let subnet = decide(config, state::load::<LinkState>(&file)?.map(|state| state.subnet), &occupied)?;
        state::save(&file, &LinkState { subnet })?;
        let (bridge, _) = links.ensure_bridge(&name, subnet.gateway()).await?;
        for range in std::iter::once(subnet).chain(second) {
            links.add_address(bridge, &name, range.gateway(), range.prefix()).await?;
        }
        links.up(bridge, &name).await?;
        sysctl("net/ipv4/ip_forward", "1")?;
        if second.is_some() {
            forward_v6()?;
        }
        let table = config.machines_table();
        let ranges: Vec<_> = std::iter::once(subnet).chain(second).collect();
        let text: String = ranges.iter().map(|range| rules(&table, &name, *range)).collect();
        nft::apply(&table, &text).await?;
        firewall::set(&table, &ranges).await?;
        let mtu = crate::peers::mtu_at(&links, crate::machine::primary_address()).await?.unwrap_or(1500).min(9000);
        Ok(Self { config: config.clone(), links, subnet, second, bridge, mtu })
    }

    /// This machine's address on the link.
    pub fn address(&self) -> IpAddr {
        self.subnet.gateway()
    }

    /// Makes the machine with this number, or finds it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn machine(&self, number: u8) -> Result<Machine, NetworkError> {
        let address = self.subnet.nth(1 + u128::from(number));
        let pin = self.config.machines_dir().join(number.to_string());
        let outside = format!("{}{number:02x}", self.config.machines_link());
        if namespace::is_pinned(&pin) {
            self.let_return(&outside).await?;
            return Ok(Machine { address, pin });
        }
        let made = namespace::make(&pin, Wanted { net: true, ipc: false, uts: None }).await?;
        let (Some(file), Some(inside)) = (made.net, made.links) else { return Err(NetworkError::Worker) };
        let pair = Pair {
            outside: &outside,
            inside: INTERFACE,
            namespace: file.as_fd(),
            mac: mac(address),
            mtu: self.mtu,
            bridge: self.bridge,
        };
        self.links.add_pair(&pair).await?;
        self.let_return(&outside).await?;
        let index = inside.index_of(INTERFACE).await?;
        inside.loopback_up().await?;
        inside.up(index, INTERFACE).await?;
        for range in std::iter::once(self.subnet).chain(self.second) {
            inside.add_address(index, INTERFACE, range.nth(1 + u128::from(number)), range.prefix()).await?;
            inside.add_routes(index, INTERFACE, range, false).await?;
        }
        self.links.carrier(&outside).await?;
        namespace::pin(&file, &pin)?;
        Ok(Machine { address, pin })
    }

    /// What a machine sends to a port of this one may be led back to a pod of its own. As bridges' packets pass nftables, the bridge
    /// itself hands it on then, to the port that it came from.
    async fn let_return(&self, outside: &str) -> Result<(), NetworkError> {
        self.links.hairpin(self.links.index_of(outside).await?, outside).await
    }

    /// Takes all of them away, and the link; no error when there are none.
    ///
    /// # Errors
    /// When something could not be removed.
    pub async fn teardown(config: &NetworkConfig) -> Result<(), NetworkError> {
        config.check()?;
        if !config.machines_dir().exists() {
            return Ok(());
        }
        let table = config.machines_table();
        nft::delete_tables(&table).await?;
        firewall::set(&table, &[]).await?;
        for pin in pins(&config.machines_dir())? {
            namespace::unpin(&pin)?;
        }
        let links = Links::connect()?;
        for (link, _) in links.with_prefix(&config.machines_link()).await? {
            links.delete(&link).await?;
        }
        state::remove(&config.machines_file())?;
        crate::teardown::remove_dir(&config.machines_dir())
    }
}

impl Machine {
    /// Starts a program there.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn spawn(&self, mut command: Command) -> Result<Child, NetworkError> {
        let program = PathBuf::from(command.as_std().get_program());
        namespace::enter(&self.pin, move || command.spawn().map_err(state::io("start", &program))).await
    }

    /// Opens sockets there: they stay there, whoever uses them. `purpose` is for errors.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub async fn open<T: Send + 'static>(
        &self,
        purpose: &'static str,
        work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, NetworkError> {
        namespace::enter(&self.pin, move || work().map_err(state::io("open sockets for", Path::new(purpose)))).await
    }
}

fn pins(dir: &Path) -> Result<Vec<PathBuf>, NetworkError> {
    let read = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(state::io("read", dir))?,
    };
    read.map(|entry| Ok(entry.map_err(state::io("read", dir))?.path())).collect()
}

fn decide(config: &NetworkConfig, remembered: Option<Subnet>, occupied: &[Subnet]) -> Result<Subnet, NetworkError> {
    let is_free = |range: &Subnet| !occupied.iter().any(|other| other.overlaps(*range));
    let start = u32::from_str_radix(&config.cluster, 16).unwrap_or(0);
    let pool = (0..POOL_SIZE).map(|i| Subnet::containing(POOL.0.into(), POOL.1).part(24, start.wrapping_add(i).into()));
    let mut free = remembered.into_iter().chain(pool).filter(is_free);
    free.next().ok_or_else(|| NetworkError::Config { message: "no free /24 for nodes in 198.18.0.0/15".to_owned() })
}

/// The machines reach the outside by this one's address.
fn rules(table: &str, link: &str, subnet: Subnet) -> String {
    let ip = subnet.family().nft();
    format!(
        r#"table {ip} {table}
delete table {ip} {table}
table {ip} {table} {{
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    oifname "mz*" accept
    {ip} saddr {subnet} {ip} daddr != {subnet} oifname != "{link}" masquerade
  }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_range_is_one_that_nobody_uses_and_stays() {
        let config = NetworkConfig {
            cluster: "00000003".into(),
            run_dir: "/nowhere".into(),
            pod_cidr: None,
            second_pod_cidr: None,
            node_address: None,
            services: crate::ServiceRange::Unknown,
            peers: crate::PeersConfig::default(),
            cni: crate::PluginDirs::default(),
        };
        let of = |text: &str| text.parse::<Subnet>().unwrap();
        assert_eq!(decide(&config, None, &[]).unwrap(), of("198.18.3.0/24"));
        assert_eq!(decide(&config, None, &[of("198.18.0.0/22")]).unwrap(), of("198.18.4.0/24"));
        assert_eq!(decide(&config, Some(of("198.19.9.0/24")), &[]).unwrap(), of("198.19.9.0/24"));
        assert!(decide(&config, None, &[of("198.16.0.0/12")]).is_err());
    }
}
