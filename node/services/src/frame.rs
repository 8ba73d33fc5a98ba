//! The table without any service: its maps, its hooks, and what is done with packets that no endpoint is for.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use mizzen_network::nft::WASM_MARK;
use mizzen_network::{Family, Network, Subnet};

use crate::chains::{Door, MASQUERADE_MARK, Pick, Range, Way};
use crate::model::{Elements, Part};

/// Clients that stay with their endpoint at one time, of all services; further ones do not stay.
const AFFINITIES: u32 = 65_535;
/// Bears what goes to a cluster's bridge. All clusters of a machine set it for their own, so that each knows the others'.
const BRIDGE_MARK: u32 = 0x0200_0000;

/// What on the machine is this cluster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub table: String,
    pub bridge: String,
    /// Of the family that the table is for.
    pub pods: Subnet,
    pub wasm_mac: [u8; 6],
}

impl Scope {
    /// One for each family that pods have.
    pub fn all(network: &Network) -> impl Iterator<Item = Self> {
        let config = network.config();
        network.pod_cidrs().map(|pods| Self {
            table: config.services_table(),
            bridge: config.bridge(),
            pods,
            wasm_mac: config.wasm_mac(),
        })
    }

    pub fn family(&self) -> Family {
        self.pods.family()
    }

    /// The table, as commands name it.
    pub fn place(&self) -> String {
        format!("{} {}", self.family().nft(), self.table)
    }

    /// The table's frame, in nft's language, as one block. A chain without rules bears its version, so that an agent of another
    /// version knows that it is not its own.
    pub fn frame(&self) -> String {
        format!("table {} {{\n  chain {} {{ }}\n{}}}\n", self.place(), self.version(), self.body())
    }

    /// The chains of the frame, each with the number of its rules.
    pub fn chains(&self) -> Elements {
        let mut chains = Elements::from([((Part::Chain, self.version()), String::new())]);
        let mut rules: Option<(String, Vec<String>)> = None;
        for line in self.body().lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix(" {")) {
                rules = Some((name.to_owned(), Vec::new()));
            } else if line == "}" {
                if let Some((name, rules)) = rules.take() {
                    chains.insert((Part::Chain, name), rules.join("\n"));
                }
            } else if let Some((_, rules)) = &mut rules
                && !line.starts_with("type ")
            {
                rules.push(line.to_owned());
            }
        }
        chains
    }

    /// The version is what the frame and the services' chains look like.
    pub fn version(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.body().hash(&mut hasher);
        for sticky in [None, Some(1)] {
            let pick = Pick { door: Door::Address, range: Range::All, count: 1, sticky };
            for way in [Way::Pick(pick), Way::Outside(pick), Way::OutsideLocal(pick, 1)] {
                way.chains(true, &self.bridge, self.family()).hash(&mut hasher);
            }
        }
        format!("version_{:016x}", hasher.finish())
    }

    fn body(&self) -> String {
        let Self { bridge, pods, .. } = self;
        let [a, b, c, d, e, f] = self.wasm_mac;
        let wasm_mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        let [client, node_client] = [Door::Address, Door::NodePort].map(|door| door.client_type(pods.family()));
        let (gateway, ip, address) = (pods.gateway(), pods.family().nft(), pods.family().nft_type());
        // What comes from another cluster's bridge, or by the machine's routes would go there, is that cluster's, but for ports of
        // the node, which are everybody's: on all of its addresses but those of other clusters' bridges.
        // Refusing goes before leading, and only for what begins: who talks to an endpoint that has just left goes on.
        // What asks for a service that no rule leads to yet is dropped before the kernel has noted a connection for it: one that is
        // noted un-led stays so while its client goes on trying. The client's next packet is led.
        // `services` stands after the chain of host ports, which has priority -100: hosts' ports are leads of their own.
        format!(
            r#"  map service_ips {{ type {address} . inet_proto . inet_service : verdict; }}
  map node_ports {{ type inet_proto . inet_service : verdict; }}
  map refused {{ type {address} . inet_proto . inet_service : verdict; }}
  map refused_ports {{ type inet_proto . inet_service : verdict; }}
  map endpoints {{ type {address} . inet_proto . inet_service . classid : {address} . inet_service; }}
  map node_endpoints {{ type inet_proto . inet_service . classid : {address} . inet_service; }}
  map choices {{ type {address} . inet_proto . inet_service . classid : classid; }}
  map node_choices {{ type inet_proto . inet_service . classid : classid; }}
  map affinity {{ type {client} : classid; size {AFFINITIES}; flags dynamic,timeout; }}
  map node_affinity {{ type {node_client} : classid; size {AFFINITIES}; flags dynamic,timeout; }}
  set source_ranges {{ type {address} . inet_proto . inet_service . {address}; flags interval; }}
  set cluster_ips {{ type {address}; }}
  set service_ranges {{ type {address}; flags interval; }}
  set hairpin {{ type {address} . {address}; }}
  set wasm {{ type {address}; }}
  chain refuse {{
    reject
  }}
  chain discard {{
    drop
  }}
  chain refusals {{
    meta l4proto {{ tcp, udp, sctp }} {ip} daddr . meta l4proto . th dport vmap @refused
    goto port_refusals
  }}
  chain port_refusals {{
    fib daddr type local meta mark & {BRIDGE_MARK:#x} == 0 meta l4proto {{ tcp, udp, sctp }} meta l4proto . th dport vmap @refused_ports
    {ip} daddr {gateway} meta l4proto {{ tcp, udp, sctp }} meta l4proto . th dport vmap @refused_ports
  }}
  chain services {{
    meta l4proto {{ tcp, udp, sctp }} {ip} daddr . meta l4proto . th dport vmap @service_ips
    goto ports
  }}
  chain ports {{
    fib daddr type local meta mark & {BRIDGE_MARK:#x} == 0 meta l4proto {{ tcp, udp, sctp }} meta l4proto . th dport vmap @node_ports
    {ip} daddr {gateway} meta l4proto {{ tcp, udp, sctp }} meta l4proto . th dport vmap @node_ports
  }}
  chain bridge_in {{
    type filter hook prerouting priority -110; policy accept;
    {ip} daddr {gateway} meta mark set meta mark or {BRIDGE_MARK:#x}
  }}
  chain bridge_out {{
    type filter hook output priority -110; policy accept;
    {ip} daddr {gateway} meta mark set meta mark or {BRIDGE_MARK:#x}
  }}
  chain refuse_in {{
    type filter hook prerouting priority -105; policy accept;
    ct state != new accept
    iifname "mz*" iifname != "{bridge}" goto port_refusals
    goto refusals
  }}
  chain refuse_out {{
    type filter hook output priority -105; policy accept;
    ct state != new accept
    oifname "mz*" oifname != "{bridge}" goto port_refusals
    goto refusals
  }}
  chain lead_in {{
    type nat hook prerouting priority -99; policy accept;
    iifname "{bridge}" ether saddr {wasm_mac} meta mark set meta mark or {WASM_MARK:#x}
    iifname "mz*" iifname != "{bridge}" goto ports
    goto services
  }}
  chain lead_out {{
    type nat hook output priority -99; policy accept;
    oifname "mz*" oifname != "{bridge}" goto ports
    goto services
  }}
  chain unled {{
    ct state established,related accept
    {ip} daddr @cluster_ips reject
    {ip} daddr @service_ranges drop
  }}
  chain unled_in {{
    type filter hook forward priority -90; policy accept;
    iifname "mz*" iifname != "{bridge}" accept
    goto unled
  }}
  chain unled_out {{
    type filter hook output priority -90; policy accept;
    oifname "mz*" oifname != "{bridge}" accept
    goto unled
  }}
  chain leave {{
    type nat hook postrouting priority 99; policy accept;
    ct status dnat {ip} saddr . {ip} daddr @hairpin masquerade
    ct status dnat meta mark & {WASM_MARK:#x} == {WASM_MARK:#x} {ip} daddr @wasm masquerade
    ct status dnat meta mark & {MASQUERADE_MARK:#x} == {MASQUERADE_MARK:#x} masquerade
  }}
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(bridge: &str) -> Scope {
        let pods = "10.64.3.0/24".parse().expect("a range");
        Scope { table: "mizzen_x_services".into(), bridge: bridge.into(), pods, wasm_mac: [10, 89, 0, 0, 0, 1] }
    }

    #[test]
    fn the_frames_chains_are_known_with_their_rules() {
        let chains = scope("mzx").chains();
        assert_eq!(chains[&(Part::Chain, "refuse".into())], "reject");
        assert_eq!(chains[&(Part::Chain, "leave".into())].lines().count(), 3);
        assert_eq!(chains[&(Part::Chain, scope("mzx").version())], "");
        assert_eq!(chains.len(), 17, "{:?}", chains.keys());
    }

    #[test]
    fn another_frame_is_another_version() {
        assert_eq!(scope("mzx").version(), scope("mzx").version());
        assert_ne!(scope("mzx").version(), scope("mzy").version());
    }
}
