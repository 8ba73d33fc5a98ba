//! `Node.status`: a pure function of what was measured.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeRuntimeHandler, NodeStatus,
    NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::capacity::Capacity;
use super::peers::Unreached;
use super::pressure::Pressure;
use crate::hooks::runtime_class::HANDLERS;
use crate::pod::conditions::whole_seconds;

/// What is reported.
pub(crate) struct Facts {
    pub(crate) addresses: Vec<String>,
    pub(crate) hostname: String,
    pub(crate) port: u16,
    pub(crate) capacity: Capacity,
    pub(crate) pressure: Pressure,
    /// Why pods cannot be attached to the network of plugins.
    pub(crate) network_problem: Option<String>,
    /// Other nodes whose pods this node's do not reach.
    pub(crate) unreached: Unreached,
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
    // What others count on this node (extended resources) they have as much to give of as they say.
    let mut allocatable = amounts.clone();
    allocatable.extend(extended(before).map(|(name, amount)| (name.clone(), amount.clone())));
    let address = |kind: &str, address: &str| NodeAddress { type_: kind.to_owned(), address: address.to_owned() };
    let mut addresses: Vec<_> = facts.addresses.iter().map(|ip| address("InternalIP", ip)).collect();
    addresses.push(address("Hostname", &facts.hostname));
    NodeStatus {
        capacity: Some(amounts.clone()),
        allocatable: Some(allocatable),
        addresses: Some(addresses),
        conditions: Some(conditions(facts, before)),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(facts.port) }) }),
        images: Some(facts.images.clone()),
        node_info: Some(facts.info.clone()),
        runtime_handlers: Some(handlers()),
        ..NodeStatus::default()
    }
}

/// What RuntimeClasses can name; the one without a name is what pods without a class get.
fn handlers() -> Vec<NodeRuntimeHandler> {
    let of = |name: &str| NodeRuntimeHandler { name: Some(name.to_owned()), features: None };
    std::iter::once("").chain(HANDLERS.iter().map(|(name, _)| *name)).map(of).collect()
}

/// Amounts in a node's capacity that its agent does not measure.
pub(crate) fn extended(node: Option<&Node>) -> impl Iterator<Item = (&String, &Quantity)> {
    let capacity = node.into_iter().filter_map(|node| node.status.as_ref()?.capacity.as_ref()).flatten();
    capacity.filter(|(name, _)| name.contains('/'))
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
    let unreached = !facts.unreached.is_empty();
    let (peer_reason, peer_text) = match said(&facts.unreached) {
        text if unreached => ("PeersUnreachable", text),
        _ => ("PeersReached", "the pods of all other nodes are reached".to_owned()),
    };
    vec![
        condition("MemoryPressure", memory, memory_text.0, memory_text.1),
        condition("DiskPressure", disk, disk_text.0, disk_text.1),
        condition("PIDPressure", pids, pid_text.0, pid_text.1),
        condition("PeerUnreachable", unreached, peer_reason, &peer_text),
        match &facts.network_problem {
            None => condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
            Some(problem) => condition("Ready", false, "KubeletNotReady", &not_ready(problem)),
        },
    ]
}

/// As many as one can read.
fn said(unreached: &Unreached) -> String {
    const NODES: usize = 10;
    let mut all: Vec<_> = unreached.iter().take(NODES).map(|(node, why)| format!("{node}: {why}")).collect();
    if unreached.len() > NODES {
        all.push(format!("and {} more", unreached.len() - NODES));
    }
    all.join("; ")
}

/// In the kubelet's words.
fn not_ready(problem: &str) -> String {
    let reason = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady";
    format!("{reason} message:Network plugin returns error: {problem}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_many_nodes_that_are_not_reached_some_are_named() {
        let unreached = |count: u32| (0..count).map(|number| (format!("n{number:02}"), "why".to_owned())).collect();
        assert_eq!(said(&unreached(2)), "n00: why; n01: why");
        assert!(said(&unreached(30)).ends_with("; n09: why; and 20 more"));
    }

    #[test]
    fn what_others_count_on_the_node_can_be_asked_for() {
        let capacity = json!({"cpu": "9", "example.com/foo": "5"});
        let node: Node = serde_json::from_value(json!({"status": {"capacity": capacity}})).expect("a node");
        let facts = Facts {
            addresses: Vec::new(),
            hostname: "n".into(),
            port: 1,
            capacity: Capacity { cpu_milli: 2000, memory: 1 << 30, pods: 3, storage: 0 },
            pressure: Pressure::default(),
            network_problem: None,
            unreached: Unreached::default(),
            info: NodeSystemInfo::default(),
            images: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
        };
        let status = status(&facts, Some(&node));
        let amount = |amounts: &Option<std::collections::BTreeMap<String, Quantity>>, name: &str| {
            amounts.as_ref().and_then(|amounts| amounts.get(name)).map(|amount| amount.0.clone())
        };
        assert_eq!(amount(&status.allocatable, "example.com/foo").as_deref(), Some("5"));
        assert_eq!(amount(&status.allocatable, "cpu").as_deref(), Some("2"));
        // Theirs to say: it is not written.
        assert_eq!(amount(&status.capacity, "example.com/foo"), None);
    }
}
