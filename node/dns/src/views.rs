//! Services and EndpointSlices as far as names need them, decoded once per version.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::Name;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_api::Object;

/// Label of a slice: the service it belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceView {
    /// Its addresses of the cluster; none for a headless one.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) headless: bool,
    /// What an ExternalName is another name for.
    pub(crate) alias: Option<Name>,
    pub(crate) ports: Vec<Port>,
    pub(crate) publish_not_ready: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// Empty for one without a name, which has no SRV record.
    pub(crate) name: Box<str>,
    pub(crate) protocol: &'static str,
    pub(crate) number: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SliceView {
    pub(crate) service: Box<str>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) ports: Vec<Port>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) hostname: Option<Box<str>>,
    pub(crate) ready: bool,
}

impl ServiceView {
    /// `None` for a document that is no service, which the API never stores.
    pub(crate) fn of(object: &Arc<Object>) -> Option<Self> {
        let spec = object.decode::<Service>().ok()?.spec.unwrap_or_default();
        if spec.type_.as_deref() == Some("ExternalName") {
            return Some(Self { alias: spec.external_name.as_deref().and_then(alias), ..Self::default() });
        }
        let listed = spec.cluster_ips.filter(|listed| !listed.is_empty());
        let texts = listed.unwrap_or_else(|| spec.cluster_ip.into_iter().collect());
        let ports = spec.ports.unwrap_or_default();
        Some(Self {
            headless: texts.iter().any(|text| text == "None"),
            addresses: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            alias: None,
            ports: ports.iter().filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), Some(p.port))).collect(),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        })
    }
}

impl SliceView {
    /// `None` for a slice that belongs to no service.
    pub(crate) fn of(object: &Arc<Object>) -> Option<Self> {
        let service = object.head().labels.get(SERVICE_NAME)?.as_str().into();
        let slice: EndpointSlice = object.decode().ok()?;
        let ports = slice.ports.unwrap_or_default();
        let endpoints = slice.endpoints.unwrap_or_default().into_iter().map(|endpoint| Endpoint {
            addresses: endpoint.addresses.iter().filter_map(|text| text.parse().ok()).collect(),
            hostname: endpoint.hostname.filter(|name| !name.is_empty()).map(|name| name.to_ascii_lowercase().into()),
            // Unknown is to be taken for ready.
            ready: endpoint.conditions.and_then(|conditions| conditions.ready).unwrap_or(true),
        });
        Some(Self {
            service,
            endpoints: endpoints.collect(),
            ports: ports.iter().filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), p.port)).collect(),
        })
    }
}

fn port(name: Option<&str>, protocol: Option<&str>, number: Option<i32>) -> Option<Port> {
    let protocol = match protocol {
        None | Some("TCP") => "tcp",
        Some("UDP") => "udp",
        Some("SCTP") => "sctp",
        Some(_) => return None,
    };
    let name = name.unwrap_or_default().to_ascii_lowercase().into();
    Some(Port { name, protocol, number: u16::try_from(number?).ok()? })
}

/// An address is no name that anything could be another name for.
fn alias(text: &str) -> Option<Name> {
    if text.parse::<IpAddr>().is_ok() {
        return None;
    }
    let mut name = Name::from_ascii(text.to_ascii_lowercase()).ok()?;
    name.set_fqdn(true);
    Some(name).filter(|name| !name.is_root())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(mut document: Value) -> Arc<Object> {
        document["metadata"]["resourceVersion"] = json!("1");
        Arc::new(Object::new(document.to_string().into_bytes(), 1))
    }

    fn service(spec: Value) -> ServiceView {
        ServiceView::of(&object(json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec}))).expect("is a service")
    }

    #[test]
    fn a_service_has_its_addresses_and_ports_or_none_when_it_is_headless() {
        let dual = service(json!({"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5", "fd00::5"],
            "ports": [{"name": "HTTP", "port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 1, "protocol": "OTHER"}]}));
        assert_eq!(dual.addresses, ["10.96.0.5".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
        let ports: Vec<_> = dual.ports.iter().map(|port| (&*port.name, port.protocol, port.number)).collect();
        assert_eq!(ports, [("http", "tcp", 80), ("", "udp", 53)]);
        let headless = service(json!({"clusterIP": "None"}));
        assert!(headless.headless && headless.addresses.is_empty());
    }

    #[test]
    fn an_external_name_is_an_alias_unless_it_is_an_address() {
        let alias =
            |name: &str| service(json!({"type": "ExternalName", "externalName": name})).alias.map(|name| name.to_string());
        assert_eq!(alias("WWW.example.com").as_deref(), Some("www.example.com."));
        assert_eq!((alias("192.0.2.1"), alias("")), (None, None));
    }

    #[test]
    fn an_endpoint_of_which_nothing_is_known_is_ready() {
        let slice = json!({"metadata": {"name": "s-1", "namespace": "n", "labels": {SERVICE_NAME: "s"}}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 80}, {"name": "any"}],
            "endpoints": [{"addresses": ["10.0.0.1"], "hostname": "A"}, {"addresses": ["x"], "conditions": {"ready": false}}]});
        let slice = SliceView::of(&object(slice)).expect("belongs to s");
        assert_eq!(slice.endpoints.iter().map(|endpoint| endpoint.ready).collect::<Vec<_>>(), [true, false]);
        assert_eq!(slice.endpoints[0].hostname.as_deref(), Some("a"));
        assert_eq!((slice.endpoints[1].addresses.len(), slice.ports.len()), (0, 1));
        assert_eq!(SliceView::of(&object(json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": []}))), None);
    }
}
