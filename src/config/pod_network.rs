//! What of the configuration is about the network between nodes.

use std::net::Ipv6Addr;

use mizzen_api::ServiceRange;
use mizzen_network::{Family, PeerBackend, PeersConfig, Subnet};
use serde::Deserialize;

use super::{ConfigError, File};

/// VXLAN's network identifiers have 24 bits.
const VNIS: u32 = 1 << 24;

/// `podNetwork`: the same on all nodes of a cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fields {
    backend: PeerBackend,
    vni: Option<u32>,
    /// `auto`, or a network.
    ipv6: Option<String>,
}

/// Where addresses of IPv6 come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6 {
    /// A network that is the cluster's own (RFC 4193).
    Auto,
    Range(Subnet),
}

/// The cluster's network of IPv6, cut: its first half for nodes' blocks of pods, the last /64 for services, the one before for
/// the link of nodes that are tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondFamily {
    range: Subnet,
}

/// What a node's block and a link have.
const PREFIX: u8 = 64;
/// Of services.
const SERVICES_PREFIX: u8 = 112;
/// At most, so that there is room for some nodes.
const LONGEST: u8 = 60;

impl Ipv6 {
    /// `cluster` is its id.
    pub fn of(self, cluster: &str) -> SecondFamily {
        let range = match self {
            Self::Range(range) => range,
            Self::Auto => {
                let [a, b, c, d] = u32::from_str_radix(cluster, 16).unwrap_or(0).to_be_bytes().map(u16::from);
                // fd, a byte of Mizzen's, and the id, which is random.
                Subnet::containing(Ipv6Addr::new(0xfd6d, a << 8 | b, c << 8 | d, 0, 0, 0, 0, 0).into(), 48)
            }
        };
        SecondFamily { range }
    }
}

impl SecondFamily {
    /// Where nodes have their blocks from; `None` never happens, as the range was checked.
    pub fn pods(self) -> Option<ServiceRange> {
        let half = self.range.part(self.range.prefix() + 1, 0);
        ServiceRange::new(half.network(), half.prefix())
    }

    /// The block of the node beside the control plane, which nobody gives it.
    pub fn first_node(self) -> Subnet {
        self.range.part(PREFIX, 0)
    }

    pub fn services(self) -> Option<ServiceRange> {
        let last = self.range.part(PREFIX, u128::MAX).part(SERVICES_PREFIX, 0);
        ServiceRange::new(last.network(), last.prefix())
    }

    /// Of the machines of `--nodes`.
    pub fn link(self) -> Subnet {
        self.range.part(PREFIX, u128::MAX - 1)
    }
}

/// # Errors
/// When it is neither `auto` nor a network of IPv6 with room for nodes.
pub(super) fn ipv6(file: &File) -> Result<Option<Ipv6>, ConfigError> {
    let invalid = |why| ConfigError::Invalid { field: "podNetwork.ipv6", why };
    match file.pod_network.ipv6.as_deref() {
        None => Ok(None),
        Some("auto") => Ok(Some(Ipv6::Auto)),
        Some(text) => {
            let range: Subnet = text.parse().map_err(|error| invalid(format!("{error}")))?;
            if range.family() != Family::V6 || !(8..=LONGEST).contains(&range.prefix()) {
                return Err(invalid(format!("{range} is no network of IPv6 with a prefix of 8 to {LONGEST} bits, nor auto")));
            }
            Ok(Some(Ipv6::Range(range)))
        }
    }
}

/// # Errors
/// Names the field that is wrong.
pub(super) fn resolve(file: &File) -> Result<PeersConfig, ConfigError> {
    let Fields { backend, vni, .. } = file.pod_network;
    let vni = vni.unwrap_or(PeersConfig::default().vni);
    if !(1..VNIS).contains(&vni) {
        let why = format!("{vni} is not 1 to {}", VNIS - 1);
        return Err(ConfigError::Invalid { field: "podNetwork.vni", why });
    }
    Ok(PeersConfig { backend, vni })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_has_room_for_nodes_services_and_their_link() {
        let file = |text: &str| ipv6(&serde_yaml_ng::from_str::<File>(text).expect("parses")).map_err(|e| e.to_string());
        assert_eq!(file("{}"), Ok(None));
        let own = file("podNetwork: {ipv6: 'fd00:1:2::/48'}").expect("is valid").expect("is given").of("0000002a");
        let said = (own.pods().map(|range| range.to_string()), own.services().map(|range| range.to_string()));
        assert_eq!(said, (Some("fd00:1:2::/49".into()), Some("fd00:1:2:ffff::/112".into())));
        assert_eq!((own.first_node().to_string(), own.link().to_string()), ("fd00:1:2::/64".into(), "fd00:1:2:fffe::/64".into()));
        let auto = file("podNetwork: {ipv6: auto}").expect("is valid").expect("is given").of("12ab34cd");
        assert_eq!(auto.first_node().to_string(), "fd6d:12ab:34cd::/64");
        for text in ["10.0.0.0/8", "fd00::/61", "fd00::1/48", "yes"] {
            let why = file(&format!("podNetwork: {{ipv6: '{text}'}}")).expect_err("is none");
            assert!(why.starts_with("podNetwork.ipv6: ") && why.contains(text), "{why}");
        }
    }

    #[test]
    fn the_network_between_nodes_is_found_out_unless_told() {
        let resolve = |text: &str| resolve(&serde_yaml_ng::from_str::<File>(text).expect("parses")).map_err(|e| e.to_string());
        assert_eq!(resolve("{}").expect("is valid").backend, PeerBackend::Auto);
        let own = resolve("podNetwork: {backend: vxlan, vni: 4711}\n").expect("is valid");
        assert_eq!((own.backend, own.vni), (PeerBackend::Vxlan, 4711));
        assert!(resolve("podNetwork: {vni: 16777216}\n").expect_err("is too much").starts_with("podNetwork.vni: "));
        assert!(serde_yaml_ng::from_str::<File>("podNetwork: {backend: magic}\n").is_err());
    }
}
