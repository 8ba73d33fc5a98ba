//! What a pod is to a service.

use k8s_openapi::api::core::v1::{ObjectReference, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::ServiceView;
use crate::pod_view::PodView;

/// Whether the pod has an address that may be told of.
pub(super) fn belongs(pod: &PodView, also_terminating: bool) -> bool {
    !pod.is_finished() && !pod.ips.is_empty() && (also_terminating || !pod.terminating)
}

/// The number of the pod's port that the service's port leads to; `None` when the pod has no port of that name.
pub(super) fn target_port(pod: &PodView, port: &ServicePort) -> Option<i32> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            pod.named_ports.iter().find(|named| named.name == *name && named.protocol == protocol).map(|named| named.port)
        }
    }
}

/// The name under which the service's domain knows the pod.
pub(super) fn hostname(pod: &PodView, service: &ServiceView) -> Option<String> {
    let named = !pod.hostname.is_empty() && pod.subdomain == service.key.name && pod.key.namespace == service.key.namespace;
    named.then(|| pod.hostname.clone())
}

pub(super) fn node_name(pod: &PodView) -> Option<String> {
    (!pod.node.is_empty()).then(|| pod.node.clone())
}

pub(super) fn reference(pod: &PodView) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.key.namespace.clone()),
        name: Some(pod.key.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}

/// Whether a change between the two can change any endpoint.
pub(super) fn differ(old: &PodView, new: &PodView) -> bool {
    let facts = |pod: &PodView| (pod.ready, pod.terminating, pod.is_finished());
    facts(old) != facts(new)
        || old.uid != new.uid
        || old.ips != new.ips
        || old.node != new.node
        || old.labels != new.labels
        || (&old.hostname, &old.subdomain) != (&new.hostname, &new.subdomain)
        || old.named_ports != new.named_ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod_view::NamedPort;

    #[test]
    fn a_target_port_is_found_by_number_or_by_name_and_protocol() {
        let named = |protocol: &str, port| NamedPort { name: "dns".into(), protocol: protocol.into(), port };
        let pod = PodView { named_ports: vec![named("TCP", 53), named("UDP", 5353)], ..PodView::default() };
        let port = |target, protocol: &str| ServicePort {
            port: 80,
            protocol: Some(protocol.into()),
            target_port: target,
            ..ServicePort::default()
        };
        let name = |name: &str| Some(IntOrString::String(name.into()));
        assert_eq!(target_port(&pod, &port(None, "TCP")), Some(80));
        assert_eq!(target_port(&pod, &port(Some(IntOrString::Int(8080)), "TCP")), Some(8080));
        assert_eq!(target_port(&pod, &port(name("dns"), "UDP")), Some(5353));
        assert_eq!(target_port(&pod, &port(name("dns"), "SCTP")), None);
    }
}
