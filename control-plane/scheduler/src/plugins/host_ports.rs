//! NodePorts: a host port is given once per node, address and protocol.

use crate::framework::{Candidates, ClusterEvent, Plugin, PluginState, Point, Points, Rejection, Scope};
use crate::pod::{HostPort, PodInfo};
use crate::snapshot::Snapshot;

pub(super) struct NodePorts;

const ANY: &str = "0.0.0.0";

fn clash(a: &HostPort, b: &HostPort) -> bool {
    a.port == b.port && a.protocol == b.protocol && (a.address == b.address || a.address == ANY || b.address == ANY)
}

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn points(&self) -> Points {
        Points::of(&[Point::PreFilter, Point::Filter])
    }

    fn wakes_on(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::PodLeft]
    }

    fn pre_filter(&self, pod: &PodInfo, _snapshot: &Snapshot, _state: &mut PluginState) -> Result<Scope, Rejection> {
        Ok(if pod.host_ports.is_empty() { Scope::Skip } else { Scope::All })
    }

    fn filter(&self, pod: &PodInfo, _snapshot: &Snapshot, candidates: &mut Candidates<'_>, _state: &mut PluginState) {
        candidates.check(|node| {
            let mut taken = node.pods.iter().flat_map(|other| &other.host_ports);
            match taken.any(|theirs| pod.host_ports.iter().any(|ours| clash(ours, theirs))) {
                true => Err(Rejection::new("node(s) didn't have free ports for the requested pod ports")),
                false => Ok(()),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_clash_on_the_same_protocol_and_overlapping_addresses() {
        let port = |address: &str, protocol: &str, port| HostPort { address: address.into(), protocol: protocol.into(), port };
        let taken = port("10.0.0.1", "TCP", 80);
        for (wanted, expected) in [
            (port("10.0.0.1", "TCP", 80), true),
            (port(ANY, "TCP", 80), true),
            (port("10.0.0.2", "TCP", 80), false),
            (port(ANY, "UDP", 80), false),
            (port(ANY, "TCP", 81), false),
        ] {
            assert_eq!((clash(&wanted, &taken), clash(&taken, &wanted)), (expected, expected), "{wanted:?}");
        }
    }
}
