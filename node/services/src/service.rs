//! What a Service says of its traffic.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use mizzen_api::ObjectRef;
use mizzen_api::service_annotations::ANNOUNCED_BY;
use mizzen_network::{Family, Protocol, Subnet};

/// Another proxy than this one serves it (well-known label of Kubernetes).
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// How long a client stays with its endpoint when the service does not say: three hours.
const STICKY_SECONDS: u32 = 10_800;

/// A Service, as far as nodes are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    pub key: ObjectRef,
    /// As it is written; empty for a headless service and an ExternalName.
    pub cluster_ip: String,
    /// Of each family that it has, the primary one first.
    pub cluster_ips: Vec<IpAddr>,
    pub external_ips: Vec<IpAddr>,
    /// Of the status: where a load balancer takes traffic that comes here with its destination unchanged.
    pub balancer_ips: Vec<IpAddr>,
    pub ports: Vec<ServicePort>,
    /// Clients stay with one endpoint while they come again within so many seconds.
    pub sticky: Option<u32>,
    pub internal_local: bool,
    pub external_local: bool,
    /// Who may come by `balancer_ips`; `None` is everybody.
    pub sources: Option<Vec<Subnet>>,
    /// Where to ask whether the node has endpoints of its own.
    pub health_check_port: Option<u16>,
    /// Traffic is somebody else's.
    pub foreign: bool,
    /// The node that answers for `balancer_ips` on its link.
    pub announcer: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
}

/// Of the API's text; TCP when it says nothing.
pub(crate) fn protocol(text: Option<&str>) -> Protocol {
    match text {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

pub(crate) fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

fn parsed<'a>(addresses: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    addresses.filter_map(|address| address.parse().ok()).collect()
}

impl ServiceView {
    pub fn of(service: &Service) -> Self {
        let (metadata, spec) = (&service.metadata, service.spec.clone().unwrap_or_default());
        let key = ObjectRef::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
        let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
        let cluster_ip = spec.cluster_ip.filter(|ip| !ip.is_empty() && ip != "None" && kind != "ExternalName");
        let Some(cluster_ip) = cluster_ip else {
            return Self { key, ..Self::default() };
        };
        let written = spec.cluster_ips.filter(|all| !all.is_empty()).unwrap_or_else(|| vec![cluster_ip.clone()]);
        let is_balanced = kind == "LoadBalancer";
        let ingress =
            service.status.iter().flat_map(|status| status.load_balancer.iter().flat_map(|b| b.ingress.iter().flatten()));
        let arriving = ingress.filter(|ingress| is_balanced && ingress.ip_mode.as_deref() != Some("Proxy"));
        let sticky = spec.session_affinity.as_deref() == Some("ClientIP");
        let timeout = spec.session_affinity_config.and_then(|config| config.client_ip?.timeout_seconds);
        let sources = spec.load_balancer_source_ranges.filter(|ranges| is_balanced && !ranges.is_empty());
        let is_external = matches!(kind, "NodePort" | "LoadBalancer");
        Self {
            cluster_ips: parsed(written.iter()),
            external_ips: parsed(spec.external_ips.iter().flatten()),
            balancer_ips: parsed(arriving.filter_map(|ingress| ingress.ip.as_ref())),
            ports: ports(&spec.ports.unwrap_or_default(), is_external),
            sticky: sticky.then(|| timeout.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(STICKY_SECONDS)),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            sources: sources.map(|ranges| ranges.iter().filter_map(|range| range.trim().parse().ok()).collect()),
            health_check_port: spec.health_check_node_port.and_then(port).filter(|_| is_balanced),
            foreign: metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROXY_NAME)),
            announcer: metadata.annotations.as_ref().and_then(|all| all.get(ANNOUNCED_BY).cloned()).filter(|_| is_balanced),
            cluster_ip,
            key,
        }
    }

    /// The family that it is asked about by what knows only one.
    pub fn primary(&self) -> Option<Family> {
        self.cluster_ips.first().map(|address| Family::of(*address))
    }

    /// What is announced on nodes' links, and by whom.
    pub fn announced(&self) -> (Option<&str>, &[IpAddr]) {
        (self.announcer.as_deref(), &self.balancer_ips)
    }

    /// The addresses that `node` answers for.
    pub fn announced_by(&self, node: &str) -> Vec<IpAddr> {
        let is_announcer = self.announcer.as_deref() == Some(node);
        self.balancer_ips.iter().copied().filter(|_| is_announcer).collect()
    }
}

fn ports(ports: &[k8s_openapi::api::core::v1::ServicePort], is_external: bool) -> Vec<ServicePort> {
    let view = |given: &k8s_openapi::api::core::v1::ServicePort| {
        Some(ServicePort {
            name: given.name.clone().unwrap_or_default(),
            protocol: protocol(given.protocol.as_deref()),
            port: port(given.port)?,
            node_port: given.node_port.and_then(port).filter(|_| is_external),
        })
    };
    ports.iter().filter_map(view).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn view(spec: Value) -> ServiceView {
        let object = json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec,
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"ip": "192.0.2.8", "ipMode": "Proxy"}, {"hostname": "x"}]}}});
        ServiceView::of(&serde_json::from_value(object).expect("is a service"))
    }

    #[test]
    fn headless_services_and_external_names_have_no_traffic() {
        for spec in [
            json!({"clusterIP": "None", "ports": [{"port": 80}]}),
            json!({"type": "ExternalName", "externalName": "a.test"}),
            json!({}),
        ] {
            let view = view(spec.clone());
            assert_eq!((view.cluster_ips, view.ports, view.cluster_ip), (vec![], vec![], String::new()), "{spec}");
        }
    }

    #[test]
    fn what_a_load_balancer_says_counts_only_for_one() {
        let spec = |kind: &str| {
            json!({"type": kind, "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"], "healthCheckNodePort": 30900,
                "loadBalancerSourceRanges": ["192.0.2.0/24", " 198.51.100.7/32"], "externalTrafficPolicy": "Local",
                "sessionAffinity": "ClientIP", "ports": [{"name": "a", "port": 53, "protocol": "UDP", "nodePort": 30053}]})
        };
        let balanced = view(spec("LoadBalancer"));
        assert_eq!(balanced.cluster_ips, ["10.96.0.7", "fd00::7"].map(|ip| ip.parse::<IpAddr>().expect("an address")));
        assert_eq!(balanced.balancer_ips, [IpAddr::from([192, 0, 2, 9])]);
        assert_eq!(balanced.sources.as_ref().map(Vec::len), Some(2));
        assert_eq!((balanced.sticky, balanced.external_local, balanced.health_check_port), (Some(10_800), true, Some(30_900)));
        let port = ServicePort { name: "a".into(), protocol: Protocol::Udp, port: 53, node_port: Some(30_053) };
        assert_eq!(balanced.ports, [port]);
        let plain = view(spec("ClusterIP"));
        assert_eq!((plain.balancer_ips, plain.sources, plain.health_check_port), (vec![], None, None));
        assert_eq!(plain.ports[0].node_port, None);
    }
}
