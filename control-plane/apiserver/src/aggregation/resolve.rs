//! Where the service of an APIService is reached, and what of it is looked at before a connection is tried.

use std::sync::Arc;

use mizzen_api::api_services::Availability;
use mizzen_api::{Object, Reason, Status};
use mizzen_store::{RangeOptions, Store};
use serde_json::Value;

use super::backend::ServiceKey;
use crate::{lookup, proxy};

pub(super) const SERVICE_LABEL: &str = "kubernetes.io/service-name";
pub(super) const SERVICES: &str = "/registry//services/";
pub(super) const SLICES: &str = "/registry/discovery.k8s.io/endpointslices/";

/// A service and its endpoints as they are now.
pub(super) struct Found {
    service: Option<Value>,
    slices: Vec<Value>,
}

impl Found {
    pub(super) fn read(store: &dyn Store, key: &ServiceKey) -> Result<Self, Status> {
        let service = lookup::core(store, "services", &key.namespace, &key.name);
        let service = service.as_deref().map(decoded).transpose()?;
        let prefix = format!("{SLICES}{}/", key.namespace);
        let range = store.range(&prefix, &RangeOptions::default()).map_err(crate::errors::store)?;
        let own = |object: &Arc<Object>| object.head().labels.get(SERVICE_LABEL).is_some_and(|name| *name == key.name);
        let own = range.items.iter().map(|(_, object)| object).filter(|object| own(object));
        Ok(Self { service, slices: own.map(|object| decoded(object)).collect::<Result<_, _>>()? })
    }

    /// `HOST:PORT` of the service's own name, or of its ready endpoints; one at least.
    ///
    /// # Errors
    /// `ServiceUnavailable` when there is none, or no such port; `BadRequest` when none may be asked.
    pub(super) fn authorities(&self, key: &ServiceKey) -> Result<Vec<String>, Status> {
        let unavailable = |why: String| Status::new(Reason::ServiceUnavailable, why);
        let Some(service) = &self.service else {
            return Err(unavailable(format!("service {:?} not found", key.name)));
        };
        if service["spec"]["type"] == "ExternalName" {
            let host = service["spec"]["externalName"].as_str().unwrap_or_default();
            return Ok(vec![format!("{host}:{}", key.port)]);
        }
        let none = || unavailable(format!("no service port {} found for service {:?}", key.port, key.name));
        let name = port_name(service, key.port).ok_or_else(none)?;
        let ready = self.slices.iter().filter_map(|slice| Some((slice, port_of(slice, name)?))).flat_map(|(slice, port)| {
            let ready = list(slice, "/endpoints").iter().filter(|endpoint| is_ready(endpoint));
            ready.filter_map(move |endpoint| Some((list(endpoint, "/addresses").first()?.as_str()?, port)))
        });
        let mut refused = unavailable(format!("no endpoints available for service {:?}", key.name));
        let mut allowed = Vec::new();
        for (address, port) in ready {
            match proxy::authority(address, &port.to_string(), true) {
                Ok(authority) => allowed.push(authority),
                Err(status) => refused = status,
            }
        }
        if allowed.is_empty() { Err(refused) } else { Ok(allowed) }
    }

    /// What is missing before anybody can be asked.
    pub(super) fn lacks(&self, key: &ServiceKey) -> Option<Availability> {
        let ServiceKey { namespace, name, port } = key;
        let Some(service) = &self.service else {
            let why = format!("service/{name} in {namespace:?} is not present");
            return Some(Availability::missing("ServiceNotFound", why));
        };
        if service["spec"]["type"].as_str().is_some_and(|kind| kind != "ClusterIP") {
            return None;
        }
        let Some(port_name) = port_name(service, *port) else {
            let why = format!("service/{name} in {namespace:?} is not listening on port {port}");
            return Some(Availability::missing("ServicePortError", why));
        };
        if self.slices.is_empty() {
            let why = format!("cannot find endpointslices for service/{name} in {namespace:?}");
            return Some(Availability::missing("EndpointsNotFound", why));
        }
        let usable = |slice: &Value| list(slice, "/endpoints").iter().any(is_ready) && port_of(slice, port_name).is_some();
        if !self.slices.iter().any(usable) {
            let why =
                format!("endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}");
            return Some(Availability::missing("MissingEndpoints", why));
        }
        None
    }
}

fn decoded(object: &Object) -> Result<Value, Status> {
    object.value().map_err(|error| Status::internal(format!("decode {object:?}: {error}")))
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What a service calls a port; endpoints know it by this name only.
fn port_name(service: &Value, port: u16) -> Option<&str> {
    let found = list(service, "/spec/ports").iter().find(|known| known["port"].as_u64() == Some(port.into()))?;
    Some(found["name"].as_str().unwrap_or_default())
}

fn port_of(slice: &Value, name: &str) -> Option<u64> {
    let ports = list(slice, "/ports").iter();
    ports.filter(|port| port["name"].as_str().unwrap_or_default() == name).find_map(|port| port["port"].as_u64())
}

fn is_ready(endpoint: &Value) -> bool {
    endpoint["conditions"]["ready"].as_bool().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(port: u16) -> ServiceKey {
        ServiceKey { namespace: "n".to_owned(), name: "s".to_owned(), port }
    }

    fn service() -> Option<Value> {
        Some(json!({"spec": {"type": "ClusterIP", "ports": [{"name": "api", "port": 443}]}}))
    }

    fn slice(ready: bool) -> Value {
        json!({"ports": [{"name": "api", "port": 8443}],
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]})
    }

    fn reason(service: Option<Value>, slices: Vec<Value>, port: u16) -> Option<&'static str> {
        Found { service, slices }.lacks(&key(port)).map(|lacks| lacks.reason)
    }

    #[test]
    fn what_is_missing_is_named_as_kubernetes_names_it() {
        assert_eq!(reason(None, Vec::new(), 443), Some("ServiceNotFound"));
        assert_eq!(reason(service(), Vec::new(), 444), Some("ServicePortError"));
        assert_eq!(reason(service(), Vec::new(), 443), Some("EndpointsNotFound"));
        assert_eq!(reason(service(), vec![slice(false)], 443), Some("MissingEndpoints"));
        assert_eq!(reason(service(), vec![slice(false), slice(true)], 443), None);
        let external = json!({"spec": {"type": "ExternalName", "externalName": "api.example.com"}});
        assert_eq!(reason(Some(external), Vec::new(), 443), None);
    }

    #[test]
    fn a_service_is_reached_at_a_ready_endpoint_or_by_its_own_name() {
        let found = Found { service: service(), slices: vec![slice(false), slice(true)] };
        assert_eq!(found.authorities(&key(443)), Ok(vec!["10.0.0.1:8443".to_owned()]));
        let none = Found { service: service(), slices: vec![slice(false)] };
        assert_eq!(none.authorities(&key(443)).expect_err("none is ready").code, 503);
        let external = Some(json!({"spec": {"type": "ExternalName", "externalName": "api.example.com"}}));
        let external = Found { service: external, slices: Vec::new() };
        assert_eq!(external.authorities(&key(8443)), Ok(vec!["api.example.com:8443".to_owned()]));
        let mut own = slice(true);
        own["endpoints"][0]["addresses"] = json!(["127.0.0.1"]);
        let own = Found { service: service(), slices: vec![own] };
        assert_eq!(own.authorities(&key(443)).expect_err("is this machine").code, 400);
    }
}
