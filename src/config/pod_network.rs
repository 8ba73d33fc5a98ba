//! What of the configuration is about the network between nodes.

use mizzen_network::{PeerBackend, PeersConfig};
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
}

/// # Errors
/// Names the field that is wrong.
pub(super) fn resolve(file: &File) -> Result<PeersConfig, ConfigError> {
    let Fields { backend, vni } = file.pod_network;
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
    fn the_network_between_nodes_is_found_out_unless_told() {
        let resolve = |text: &str| resolve(&serde_yaml_ng::from_str::<File>(text).expect("parses")).map_err(|e| e.to_string());
        assert_eq!(resolve("{}").expect("is valid").backend, PeerBackend::Auto);
        let own = resolve("podNetwork: {backend: vxlan, vni: 4711}\n").expect("is valid");
        assert_eq!((own.backend, own.vni), (PeerBackend::Vxlan, 4711));
        assert!(resolve("podNetwork: {vni: 16777216}\n").expect_err("is too much").starts_with("podNetwork.vni: "));
        assert!(serde_yaml_ng::from_str::<File>("podNetwork: {backend: magic}\n").is_err());
    }
}
