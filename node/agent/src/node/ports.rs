//! Which ports of the node its pods hold, so that no two of them hold the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

/// A port of the node; without an address, of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    ip: Option<IpAddr>,
    protocol: String,
    port: i32,
}

impl Port {
    fn clashes(&self, other: &Self) -> bool {
        let meet = self.ip.is_none() || other.ip.is_none() || self.ip == other.ip;
        meet && self.port == other.port && self.protocol == other.protocol
    }
}

#[derive(Default)]
pub(crate) struct HostPorts {
    /// By uid; pods that are over have none.
    held: Mutex<BTreeMap<String, Vec<Port>>>,
}

impl HostPorts {
    /// Gives a new pod its ports; `false` when another has one of them.
    pub(crate) fn enter(&self, uid: &str, pod: &Pod) -> bool {
        let wanted = of(pod);
        if wanted.is_empty() {
            return true;
        }
        let mut held = self.held.lock();
        let others = held.iter().filter(|(other, _)| *other != uid).flat_map(|(_, ports)| ports);
        if others.into_iter().any(|port| wanted.iter().any(|wanted| wanted.clashes(port))) {
            return false;
        }
        held.insert(uid.to_owned(), wanted);
        true
    }

    /// Notes what a pod has that was let in before.
    pub(crate) fn note(&self, uid: &str, pod: &Pod) {
        let ports = of(pod);
        if !ports.is_empty() {
            self.held.lock().insert(uid.to_owned(), ports);
        }
    }

    /// Takes back what a pod had that is over.
    pub(crate) fn leave(&self, uid: &str) {
        self.held.lock().remove(uid);
    }
}

fn of(pod: &Pod) -> Vec<Port> {
    let containers = pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let held = ports.filter_map(|port| {
        Some(Port {
            ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()).filter(|ip: &IpAddr| !ip.is_unspecified()),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: port.host_port.filter(|port| *port > 0)?,
        })
    });
    held.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_is_held_by_one_pod_at_a_time() {
        let ports = HostPorts::default();
        let pod = |ip: &str, protocol: &str, port: i32| -> Pod {
            let port = json!({"containerPort": 1, "hostPort": port, "hostIP": ip, "protocol": protocol});
            serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "ports": [port]}]}})).expect("is a pod")
        };
        assert!(ports.enter("a", &pod("10.0.0.1", "TCP", 80)));
        assert!(ports.enter("b", &pod("10.0.0.2", "TCP", 80)) && ports.enter("c", &pod("10.0.0.1", "UDP", 80)));
        assert!(!ports.enter("d", &pod("0.0.0.0", "TCP", 80)) && !ports.enter("d", &pod("10.0.0.2", "TCP", 80)));
        assert!(ports.enter("d", &pod("", "TCP", 81)) && ports.enter("e", &pod("", "TCP", 0)));
        ports.leave("a");
        ports.leave("b");
        assert!(ports.enter("f", &pod("", "TCP", 80)));
    }
}
