//! `Node.status`: a pure function of what was measured.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::capacity::Capacity;
use super::pressure::Pressure;
use crate::pod::conditions::whole_seconds;

/// What is reported.
pub(crate) struct Facts {
    pub(crate) addresses: Vec<String>,
    pub(crate) hostname: String,
    pub(crate) port: u16,
    pub(crate) capacity: Capacity,
    pub(crate) pressure: Pressure,
    pub(crate) info: NodeSystemInfo,
    pub(crate) images: Vec<ContainerImage>,
    pub(crate) now: Timestamp,
}

pub(crate) fn status(facts: &Facts, before: Option<&Node>) -> NodeStatus {
    let amounts: std::collections::BTreeMap<String, Quantity> = [
        ("cpu", format!("{}", facts.capacity.cpu_milli / 1000)),
        ("memory", format!("{}Ki", facts.capacity.memory / 1024)),
        ("ephemeral-storage", format!("{}Ki", facts.capacity.storage / 1024)),
        ("pods", facts.capacity.pods.to_string()),
    ]
    .into_iter()
    .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
    .collect();
    let address = |kind: &str, address: &str| NodeAddress { type_: kind.to_owned(), address: address.to_owned() };
    let mut addresses: Vec<_> = facts.addresses.iter().map(|ip| address("InternalIP", ip)).collect();
    addresses.push(address("Hostname", &facts.hostname));
    NodeStatus {
        capacity: Some(amounts.clone()),
        allocatable: Some(amounts),
        addresses: Some(addresses),
        conditions: Some(conditions(facts, before)),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(facts.port) }) }),
        images: Some(facts.images.clone()),
        node_info: Some(facts.info.clone()),
        ..NodeStatus::default()
    }
}

fn conditions(facts: &Facts, before: Option<&Node>) -> Vec<NodeCondition> {
    let before = before.and_then(|node| node.status.as_ref()?.conditions.as_deref()).unwrap_or_default();
    let condition = |kind: &str, status: bool, reason: &str, message: &str| {
        let status = if status { "True" } else { "False" };
        let since =
            before.iter().find(|old| old.type_ == kind && old.status == status).and_then(|old| old.last_transition_time.clone());
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(whole_seconds(facts.now)),
            last_transition_time: Some(since.unwrap_or_else(|| whole_seconds(facts.now))),
        }
    };
    let Pressure { memory, disk, pids } = facts.pressure;
    let choose = |has: bool, bad: (&'static str, &'static str), good: (&'static str, &'static str)| if has { bad } else { good };
    let memory_text = choose(
        memory,
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    );
    let disk_text = choose(
        disk,
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    );
    let pid_text = choose(
        pids,
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    );
    vec![
        condition("MemoryPressure", memory, memory_text.0, memory_text.1),
        condition("DiskPressure", disk, disk_text.0, disk_text.1),
        condition("PIDPressure", pids, pid_text.0, pid_text.1),
        condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
    ]
}
