//! Something of which there is one for all services.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mizzen_api::Status;
use mizzen_api::object::Encoded;
use mizzen_store::Store;
use serde_json::{Value, json};

use super::families::Family;
use super::metadata;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    Address(IpAddr),
    Port(u16),
}

/// Whose claim it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Nobody,
    /// The service that is asked about, at this revision of the claim.
    This(u64),
    Other,
}

impl Claim {
    pub(super) fn key(self) -> String {
        match self {
            Self::Address(address) => format!("/registry/networking.k8s.io/ipaddresses/{address}"),
            Self::Port(port) => format!("/allocations/nodeports/{port}"),
        }
    }

    pub(super) fn holder(self, store: &dyn Store, service: &Value) -> Holder {
        let Some(stored) = store.get(&self.key()) else { return Holder::Nobody };
        let document = stored.value().unwrap_or_default();
        match document.pointer("/spec/parentRef").is_some_and(|held| refers_to(held, service)) {
            true => Holder::This(stored.revision()),
            false => Holder::Other,
        }
    }

    /// What is stored for as long as the service has it.
    ///
    /// # Errors
    /// Never, since it has metadata.
    pub(super) fn document(self, service: &Value, now: jiff::Timestamp) -> Result<Encoded, Status> {
        let (kind, name, labels) = match self {
            Self::Address(address) => (
                ("networking.k8s.io/v1", "IPAddress"),
                address.to_string(),
                json!({"ipaddress.kubernetes.io/ip-family": Family::of(address).name(), "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}),
            ),
            Self::Port(port) => (("mizzen.internal/v1", "NodePort"), port.to_string(), json!({})),
        };
        let metadata = json!({"name": name, "labels": labels, "uid": crate::uid::new(), "generation": 1,
            "creationTimestamp": metadata::seconds(now)});
        let document =
            json!({"apiVersion": kind.0, "kind": kind.1, "metadata": metadata, "spec": {"parentRef": parent(service)}});
        Encoded::from_value(document).ok_or_else(|| Status::internal("an allocation without metadata cannot be stored"))
    }
}

fn parent(service: &Value) -> Value {
    let (namespace, name) = (metadata::text(service, "namespace"), metadata::text(service, "name"));
    json!({"resource": "services", "namespace": namespace, "name": name})
}

/// Records of before say the group, which is empty.
fn refers_to(parent: &Value, service: &Value) -> bool {
    let said = |field| parent.get(field).and_then(Value::as_str).unwrap_or_default();
    let is = [said("group"), said("resource"), said("namespace"), said("name")];
    is == ["", "services", metadata::text(service, "namespace"), metadata::text(service, "name")]
}

/// What a service has.
pub(super) fn held(service: &Value) -> BTreeSet<Claim> {
    let all = service.pointer("/spec/clusterIPs").and_then(Value::as_array).into_iter().flatten();
    let addresses = all.chain(service.pointer("/spec/clusterIP")).filter_map(|address| address.as_str()?.parse().ok());
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let numbers = ports.map(|port| port.get("nodePort")).chain([service.pointer("/spec/healthCheckNodePort")]).flatten();
    let ports = numbers.filter_map(|number| u16::try_from(number.as_u64()?).ok()).filter(|number| *number != 0);
    addresses.map(Claim::Address).chain(ports.map(Claim::Port)).collect()
}
