//! What a service of some type has.

use serde_json::Value;

fn kind(service: &Value) -> &str {
    text(service, "/spec/type")
}

fn text<'a>(service: &'a Value, pointer: &str) -> &'a str {
    service.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// Whether it has an address of the cluster, or says that it wants none.
pub fn has_address(service: &Value) -> bool {
    kind(service) != "ExternalName"
}

pub fn has_node_ports(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

/// Whether its ports get node ports that they do not ask for.
pub fn allocates_node_ports(service: &Value) -> bool {
    kind(service) == "NodePort"
        || (kind(service) == "LoadBalancer"
            && service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)))
}

/// A load balancer that keeps traffic on the node asks a port of the node whether it has endpoints.
pub fn has_health_check(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && text(service, "/spec/externalTrafficPolicy") == "Local"
}
