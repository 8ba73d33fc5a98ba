//! Where the endpoints of a backend are, by the Service and its EndpointSlices. Pure.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use mizzen_network::Protocol;
use mizzen_services::endpoints::{Place, choose};
use mizzen_services::slice::SliceView;

use crate::compile::{BackendRef, Port};

/// What of a Service counts here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ServicePort {
    name: String,
    number: u16,
    speaks: Speaks,
}

/// What backends are spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Speaks {
    #[default]
    Http1,
    /// Without TLS, known in advance: what gRPC is carried by.
    Http2,
}

impl ServiceView {
    pub fn of(service: &Service) -> Self {
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let view = |port: &k8s_openapi::api::core::v1::ServicePort| {
            let speaks = match port.app_protocol.as_deref() {
                Some("kubernetes.io/h2c" | "grpc") => Speaks::Http2,
                _ => Speaks::Http1,
            };
            let is_tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
            let number = u16::try_from(port.port).ok().filter(|_| is_tcp)?;
            Some(ServicePort { name: port.name.clone().unwrap_or_default(), number, speaks })
        };
        Self { ports: ports.filter_map(view).collect() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    pub endpoints: BTreeSet<SocketAddr>,
    pub speaks: Speaks,
}

/// The ready endpoints of a backend; where there are none, those that end but still serve.
///
/// # Errors
/// Says what is not there.
pub fn resolve(
    backend: &BackendRef,
    service: Option<&ServiceView>,
    slices: &[Arc<SliceView>],
    place: &Place,
) -> Result<Resolved, String> {
    let service = service.ok_or_else(|| format!("service {} is not there", backend.service))?;
    let port = service.ports.iter().find(|port| match &backend.port {
        Port::Name(name) => port.name == *name,
        Port::Number(number) => port.number == *number,
    });
    let port = port.ok_or_else(|| match &backend.port {
        Port::Name(name) => format!("service {} has no port {name:?}", backend.service),
        Port::Number(number) => format!("service {} has no port {number}", backend.service),
    })?;
    let is_of_port = |slice: &SliceView| {
        let mut ports = slice.ports.iter();
        ports.find(|found| found.name == port.name && found.protocol == Protocol::Tcp).map(|found| found.port)
    };
    let of_slices = slices.iter().filter_map(|slice| Some((slice, is_of_port(slice)?)));
    let all: Vec<_> =
        of_slices.flat_map(|(slice, number)| slice.endpoints.iter().map(move |endpoint| (endpoint, number))).collect();
    let endpoints = choose(&all, place).all.into_iter().map(SocketAddr::from).collect();
    Ok(Resolved { endpoints, speaks: port.speaks })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use mizzen_api::ObjectRef;
    use serde_json::{Value, json};

    use super::*;

    fn service(ports: Value) -> ServiceView {
        ServiceView::of(&serde_json::from_value(json!({"spec": {"ports": ports}})).expect("is a service"))
    }

    fn slice(ports: Value, endpoints: Value) -> Arc<SliceView> {
        let metadata = json!({"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}});
        let slice = json!({"metadata": metadata, "addressType": "IPv4", "ports": ports, "endpoints": endpoints});
        let slice: EndpointSlice = serde_json::from_value(slice).expect("is a slice");
        Arc::new(SliceView::of(&slice).expect("is of a service"))
    }

    fn endpoint(address: &str, ready: bool, terminating: bool) -> Value {
        json!({"addresses": [address], "conditions": {"ready": ready, "serving": ready || terminating, "terminating": terminating}})
    }

    fn asked(port: Port, service: Option<&ServiceView>, slices: &[Arc<SliceView>]) -> Result<(String, Speaks), String> {
        let backend = BackendRef { service: ObjectRef::new("n", "s"), port };
        let resolved = resolve(&backend, service, slices, &Place::default())?;
        let endpoints: Vec<String> = resolved.endpoints.iter().map(ToString::to_string).collect();
        Ok((endpoints.join(" "), resolved.speaks))
    }

    #[test]
    fn a_port_is_found_by_name_or_number_and_leads_to_the_targets() {
        let ports = json!([{"name": "http", "port": 80}, {"name": "rpc", "port": 81, "appProtocol": "grpc"},
            {"name": "h2", "port": 82, "appProtocol": "kubernetes.io/h2c"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
        let service = service(ports);
        let slices = [slice(
            json!([{"name": "http", "port": 8080}, {"name": "rpc", "port": 9090}, {"name": "h2", "port": 9091}]),
            json!([endpoint("10.0.0.1", true, false)]),
        )];
        let found = |port| asked(port, Some(&service), &slices);
        assert_eq!(found(Port::Name("http".into())), Ok(("10.0.0.1:8080".to_owned(), Speaks::Http1)));
        assert_eq!(found(Port::Number(81)), Ok(("10.0.0.1:9090".to_owned(), Speaks::Http2)));
        assert_eq!(found(Port::Name("h2".into())), Ok(("10.0.0.1:9091".to_owned(), Speaks::Http2)));
        assert_eq!(found(Port::Number(53)), Err("service n/s has no port 53".to_owned()));
        assert_eq!(found(Port::Name("x".into())), Err("service n/s has no port \"x\"".to_owned()));
        assert_eq!(asked(Port::Number(80), None, &slices), Err("service n/s is not there".to_owned()));
    }

    #[test]
    fn endpoints_that_end_are_the_last_resort() {
        let service = service(json!([{"port": 80}]));
        let ending = || endpoint("10.0.0.2", false, true);
        let both = slice(json!([{"name": "", "port": 8080}]), json!([endpoint("10.0.0.1", true, false), ending()]));
        let last = slice(json!([{"name": "", "port": 8080}]), json!([ending(), endpoint("10.0.0.3", false, false)]));
        let found = |slice| asked(Port::Number(80), Some(&service), &[slice]).map(|(endpoints, _)| endpoints);
        assert_eq!(found(both), Ok("10.0.0.1:8080".to_owned()));
        assert_eq!(found(last), Ok("10.0.0.2:8080".to_owned()));
    }
}
