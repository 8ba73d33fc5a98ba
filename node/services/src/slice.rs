//! What an EndpointSlice says.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use mizzen_api::ObjectRef;
use mizzen_network::{Family, Protocol};

use crate::service::{port, protocol};

/// Which service a slice is of.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceView {
    pub service: ObjectRef,
    pub family: Family,
    pub ports: Vec<SlicePort>,
    pub endpoints: Vec<EndpointView>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlicePort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointView {
    pub address: IpAddr,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node: Option<String>,
    /// `None` where nobody has given a hint.
    pub for_zones: Option<Vec<String>>,
    pub for_nodes: Option<Vec<String>>,
}

impl SliceView {
    /// `None` for a slice of no service, or of names instead of addresses.
    pub fn of(slice: &EndpointSlice) -> Option<Self> {
        let family = Family::ALL.into_iter().find(|family| family.name() == slice.address_type)?;
        let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
        let ports = slice.ports.iter().flatten().filter_map(|given| {
            let name = given.name.clone().unwrap_or_default();
            Some(SlicePort { name, protocol: protocol(given.protocol.as_deref()), port: port(given.port?)? })
        });
        let endpoints = slice.endpoints.iter().flatten().filter_map(|given| {
            let conditions = given.conditions.clone().unwrap_or_default();
            // What is not said is as good as can be.
            let ready = conditions.ready.unwrap_or(true);
            let hints = given.hints.clone().unwrap_or_default();
            Some(EndpointView {
                // All addresses of an endpoint are the same: the first is the one to use.
                address: given.addresses.first()?.parse().ok()?,
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating.unwrap_or(false),
                node: given.node_name.clone(),
                for_zones: hints.for_zones.map(|zones| zones.into_iter().map(|zone| zone.name).collect()),
                for_nodes: hints.for_nodes.map(|nodes| nodes.into_iter().map(|node| node.name).collect()),
            })
        });
        Some(Self {
            service: ObjectRef::new(slice.metadata.namespace.clone().unwrap_or_default(), name.clone()),
            family,
            ports: ports.collect(),
            endpoints: endpoints.collect(),
        })
    }
}
