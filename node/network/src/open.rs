//! Bringing the cluster's network up, the first time and every other time.

use std::fs::File;
use std::net::Ipv4Addr;

use nix::fcntl::{Flock, FlockArg};

use crate::links::Links;
use crate::machine::{forward_v6, sysctl, try_sysctl};
use crate::state::{self, ClusterState};
use crate::{Family, NetworkConfig, NetworkError, Subnet, services};

/// Clusters choose their ranges one after the other, or two would find the same one free.
const CHOICE_LOCK: &str = "/run/mizzen-network.lock";

/// Where pods' ranges are picked from: 8192 of /24. What follows it is for services.
const POOL: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 64, 0, 0), 11);
const POOL_SIZE: u32 = 1 << 13;

/// Which range a node would have that has none yet: nobody else on this machine uses it.
pub(crate) async fn propose(config: &NetworkConfig, links: &Links) -> Result<Subnet, NetworkError> {
    decide(config, None, &links.occupied(&[]).await?)
}

/// The ranges that an earlier process had, the primary one first.
pub(crate) fn remembered(config: &NetworkConfig) -> Result<Vec<Subnet>, NetworkError> {
    let state = state::load::<ClusterState>(&config.state_file())?;
    Ok(state.into_iter().flat_map(|state| std::iter::once(state.pod_cidr).chain(state.second)).collect())
}

/// The bridge with its range.
pub(crate) struct Base {
    pub(crate) subnet: Subnet,
    pub(crate) second: Option<Subnet>,
    pub(crate) bridge: u32,
    pub(crate) service_cidr: Option<Subnet>,
}

pub(crate) async fn bring_up(config: &NetworkConfig, links: &Links) -> Result<Base, NetworkError> {
    for dir in [config.pods_dir(), config.pins_dir()] {
        std::fs::create_dir_all(&dir).map_err(state::io("create", &dir))?;
    }
    let _choosing = tokio::task::spawn_blocking(lock).await.map_err(|_| NetworkError::Worker)??;
    let name = config.bridge();
    let existing = links.index(&name).await?;
    let tunnel = links.index(&config.tunnel()).await?;
    let occupied = links.occupied(&existing.into_iter().chain(tunnel).collect::<Vec<_>>()).await?;
    let (remembered, second) = match remembered(config)?[..] {
        [] => (None, None),
        [first, ref rest @ ..] => (Some(first), rest.first().copied()),
    };
    let service_cidr = services::decide(config, &occupied);
    let taken: Vec<_> = occupied.iter().copied().chain(service_cidr).collect();
    let subnet = decide(config, remembered, &taken)?;
    let had = second;
    let second = config.second_pod_cidr.or(second);
    check_second(second)?;
    if remembered != Some(subnet) || had != second {
        state::save(&config.state_file(), &ClusterState { pod_cidr: subnet, second })?;
    }
    if remembered.is_some_and(|old| old != subnet) {
        links.delete(&name).await?;
    }
    let (bridge, new) = links.ensure_bridge(&name, subnet.gateway()).await?;
    links.add_address(bridge, &name, subnet.gateway(), subnet.prefix()).await?;
    links.up(bridge, &name).await?;
    if let Some(range) = second {
        links.add_address(bridge, &name, range.gateway(), range.prefix()).await?;
        forward_v6()?;
        try_sysctl("net/bridge/bridge-nf-call-ip6tables", "1");
    }
    for (port, index) in links.with_prefix(&config.veth_prefix()).await? {
        if new {
            links.attach(index, &port, bridge).await?;
        }
        links.hairpin(index, &port).await?;
    }
    if let Some(range) = service_cidr {
        links.add_service_route(bridge, &name, range, subnet.gateway()).await?;
    }
    sysctl("net/ipv4/ip_forward", "1")?;
    // Without it, replies between two pods of the bridge would not pass conntrack and keep a translated address.
    try_sysctl("net/bridge/bridge-nf-call-iptables", "1");
    // Lets 127.0.0.1:<hostPort> lead to a pod; the table's guard chain keeps others away from the machine's loopback.
    sysctl(&format!("net/ipv4/conf/{name}/route_localnet"), "1")?;
    Ok(Base { subnet, second, bridge, service_cidr })
}

/// A pod's second address has the number that the first one has.
fn check_second(second: Option<Subnet>) -> Result<(), NetworkError> {
    match second.filter(|range| range.family() != Family::V6 || range.prefix() > 112) {
        None => Ok(()),
        Some(range) => Err(NetworkError::Config { message: format!("second pod range {range}: it is no /112 of IPv6 or more") }),
    }
}

fn lock() -> Result<Flock<File>, NetworkError> {
    let path = CHOICE_LOCK.as_ref();
    let file = File::create(path).map_err(state::io("create", path))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| state::io("lock", path)(e.into()))
}

/// The range to use: the configured one, else the remembered one, else a free one; one that somebody else has come to
/// use is given up, unless it was configured.
fn decide(config: &NetworkConfig, remembered: Option<Subnet>, occupied: &[Subnet]) -> Result<Subnet, NetworkError> {
    let overlap = |subnet: Subnet| occupied.iter().copied().find(|other| other.overlaps(subnet));
    if let Some(wanted) = config.pod_cidr {
        if wanted.family() != Family::V4 || !(8..=30).contains(&wanted.prefix()) {
            return Err(NetworkError::Config {
                message: format!("pod range {wanted}: it is no range of IPv4 with a prefix length of 8 to 30"),
            });
        }
        return match overlap(wanted) {
            Some(other) => {
                Err(NetworkError::Config { message: format!("pod range {wanted} overlaps {other}, which this machine uses") })
            }
            None => Ok(wanted),
        };
    }
    if let Some(subnet) = remembered.filter(|s| overlap(*s).is_none()) {
        return Ok(subnet);
    }
    // Starting from the cluster's id keeps clusters apart that do not run at the same time.
    let start = u32::from_str_radix(&config.cluster, 16).unwrap_or(0);
    let mut subnets = (0..POOL_SIZE).map(|i| Subnet::containing(POOL.0.into(), POOL.1).part(24, start.wrapping_add(i).into()));
    subnets.find(|s| overlap(*s).is_none()).ok_or(NetworkError::NoFreeSubnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cluster: &str, cidr: Option<&str>) -> NetworkConfig {
        NetworkConfig {
            cluster: cluster.into(),
            run_dir: "/nowhere".into(),
            pod_cidr: cidr.map(|c| c.parse().unwrap()),
            second_pod_cidr: None,
            node_address: None,
            services: crate::ServiceRange::Unknown,
            peers: crate::PeersConfig::default(),
            cni: crate::PluginDirs::default(),
        }
    }

    fn of(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_picked_by_cluster_id_and_steps_over_what_is_used() {
        let first = decide(&config("00000003", None), None, &[]).unwrap();
        assert_eq!(first, of("10.64.3.0/24"));
        let next = decide(&config("00000003", None), None, &[of("10.64.3.128/25"), of("10.64.4.0/23")]).unwrap();
        assert_eq!(next, of("10.64.6.0/24"));
        assert!(of("10.64.0.0/10").contains(decide(&config("ffffffff", None), None, &[first]).unwrap().gateway()));
    }

    #[test]
    fn the_remembered_range_is_kept_until_somebody_else_uses_it() {
        let config = config("00000003", None);
        assert_eq!(decide(&config, Some(of("10.70.0.0/24")), &[]).unwrap(), of("10.70.0.0/24"));
        assert_eq!(decide(&config, Some(of("10.70.0.0/24")), &[of("10.70.0.0/16")]).unwrap(), of("10.64.3.0/24"));
    }

    #[test]
    fn a_configured_range_that_overlaps_is_refused_with_both_names() {
        let error = decide(&config("00000003", Some("10.9.0.0/16")), None, &[of("10.9.4.0/24")]).unwrap_err().to_string();
        assert!(error.contains("10.9.0.0/16") && error.contains("10.9.4.0/24"), "{error}");
    }

    #[test]
    fn a_full_pool_is_an_error() {
        let error = decide(&config("00000003", None), None, &[of("10.64.0.0/10")]).unwrap_err();
        assert!(matches!(error, NetworkError::NoFreeSubnet));
    }
}
