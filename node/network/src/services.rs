//! Which range a cluster has its services in. Pure.

use std::net::Ipv4Addr;

use crate::{NetworkConfig, ServiceRange, Subnet};

/// Where ranges of services are picked from: the 32 of /16 that follow the pods'. The first is everybody's favourite.
const POOL: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 11);
const POOL_SIZE: u32 = 32;
const PREFIX: u8 = 16;

/// `occupied` is what others on this machine use. Clusters with one range would answer the machine's own programs for each
/// other: pods are told apart by their bridge.
pub(crate) fn decide(config: &NetworkConfig, occupied: &[Subnet]) -> Option<Subnet> {
    let is_free = |range: &Subnet| !occupied.iter().any(|other| other.overlaps(*range));
    let of_pool = |i: u32| Subnet::containing(POOL.0.into(), POOL.1).part(PREFIX, i.into());
    match config.services {
        ServiceRange::Unknown => None,
        ServiceRange::Fixed(range) => {
            if !is_free(&range) {
                let used = "programs of this machine may reach somebody else by it";
                tracing::warn!(%range, "the range of services overlaps one that this machine uses: {used}");
            }
            Some(range)
        }
        ServiceRange::Free => {
            let start = u32::from_str_radix(&config.cluster, 16).unwrap_or(0);
            let rest = (0..POOL_SIZE).map(|i| of_pool(start.wrapping_add(i)));
            Some(std::iter::once(of_pool(0)).chain(rest).find(is_free).unwrap_or_else(|| of_pool(0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn decided(services: ServiceRange, occupied: &[Subnet]) -> Option<Subnet> {
        let config = NetworkConfig {
            cluster: "00000023".into(),
            run_dir: "/nowhere".into(),
            pod_cidr: None,
            second_pod_cidr: None,
            node_address: None,
            services,
            peers: crate::PeersConfig::default(),
            cni: crate::PluginDirs::default(),
        };
        decide(&config, occupied)
    }

    #[test]
    fn the_usual_range_is_taken_unless_another_cluster_has_it() {
        assert_eq!(decided(ServiceRange::Free, &[of("10.64.0.0/24")]), Some(of("10.96.0.0/16")));
        assert_eq!(decided(ServiceRange::Free, &[of("10.96.0.0/16")]), Some(of("10.99.0.0/16")), "by the cluster's id");
        assert_eq!(decided(ServiceRange::Free, &[of("10.96.0.0/14")]), Some(of("10.100.0.0/16")));
        assert_eq!(decided(ServiceRange::Free, &[of("10.0.0.0/8")]), Some(of("10.96.0.0/16")), "one has to be");
    }

    #[test]
    fn a_range_that_was_configured_or_chosen_before_stays() {
        let range = of("172.20.0.0/20");
        assert_eq!(decided(ServiceRange::Fixed(range), &[of("172.16.0.0/12")]), Some(range));
        assert_eq!(decided(ServiceRange::Unknown, &[]), None);
    }
}
