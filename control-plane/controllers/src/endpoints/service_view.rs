//! A service as controllers see it, decoded once per version.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use mizzen_api::{Object, ObjectRef};

#[derive(Clone, Debug)]
pub(crate) struct ServiceView {
    pub(crate) key: ObjectRef,
    pub(crate) uid: String,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) spec: ServiceSpec,
}

/// A family of addresses, as a slice's `addressType` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn address_type(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    pub(crate) fn has(self, address: &str) -> bool {
        address.contains(':') == (self == Self::V6)
    }
}

impl ServiceView {
    /// `None` for a document that is no service, which the API never stores.
    pub(crate) fn of(object: &Arc<Object>) -> Option<Self> {
        let typed: Service = object.decode().ok()?;
        let head = object.head();
        Some(Self {
            key: head.object_ref(),
            uid: head.uid.clone(),
            labels: head.labels.clone(),
            created: typed.metadata.creation_timestamp.map(|time| time.0),
            spec: typed.spec.unwrap_or_default(),
        })
    }

    /// Its addresses of the cluster, the primary one first.
    pub(crate) fn addresses(&self) -> Vec<&str> {
        let all = self.spec.cluster_ips.iter().flatten().chain(&self.spec.cluster_ip);
        let mut addresses: Vec<_> = all.map(String::as_str).filter(|address| address.parse::<IpAddr>().is_ok()).collect();
        // The first is in both fields; services of before the list have it in one only.
        if addresses.len() > 1 && addresses.first() == addresses.last() {
            addresses.pop();
        }
        addresses
    }

    pub(crate) fn is_headless(&self) -> bool {
        self.spec.cluster_ip.as_deref() == Some("None")
    }

    pub(crate) fn has_selector(&self) -> bool {
        self.spec.selector.as_ref().is_some_and(|selector| !selector.is_empty())
    }

    /// Whether its endpoints are the pods it selects; otherwise they are somebody else's work.
    pub(crate) fn leads_to_pods(&self) -> bool {
        self.spec.type_.as_deref() != Some("ExternalName") && self.has_selector()
    }

    pub(crate) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.leads_to_pods() && self.spec.selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
    }

    pub(crate) fn ports(&self) -> &[ServicePort] {
        self.spec.ports.as_deref().unwrap_or_default()
    }

    pub(crate) fn publishes_not_ready(&self) -> bool {
        self.spec.publish_not_ready_addresses.unwrap_or(false)
    }

    /// The primary family first; IPv4 where the service does not say.
    pub(crate) fn families(&self) -> Vec<Family> {
        let named = self.spec.ip_families.iter().flatten();
        let families: Vec<_> = named.map(|family| if family == "IPv6" { Family::V6 } else { Family::V4 }).collect();
        match (families.is_empty(), self.spec.cluster_ip.as_deref()) {
            (false, _) => families,
            (true, Some(address)) if Family::V6.has(address) => vec![Family::V6],
            (true, _) => vec![Family::V4],
        }
    }
}
