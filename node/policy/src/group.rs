//! Whom and what rules speak of by name: a set of pods' addresses, or of pods' ports that have one name. Pure.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;

use mizzen_api::selector::LabelSelector;
use mizzen_network::{Family, Protocol};

use crate::pod::PodView;
use crate::view::Namespaces;

pub type Labels = BTreeMap<String, String>;

/// A pod that has an address, of the family that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub view: Arc<PodView>,
    pub address: IpAddr,
    /// What it may is decided here.
    pub local: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    Pods(Namespaces, LabelSelector),
    /// The ports of this name that pods have.
    Ports {
        protocol: Protocol,
        name: String,
        local: bool,
    },
}

pub(crate) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// Sixteen digits that differ where texts do.
pub(crate) fn digest(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

impl Group {
    /// The set's name: alike for whoever asks for the same.
    pub fn name(&self) -> String {
        let kind = if matches!(self, Self::Pods(..)) { "pods" } else { "ports" };
        format!("{kind}_{}", digest(&format!("{self:?}")))
    }

    /// The type of its elements.
    pub fn kind(&self, family: Family) -> String {
        match self {
            Self::Pods(..) => family.nft_type().to_owned(),
            Self::Ports { .. } => format!("{} . inet_proto . inet_service", family.nft_type()),
        }
    }

    /// What a pod adds to it.
    pub fn elements(&self, pod: &Pod, namespaces: &BTreeMap<String, Labels>) -> Vec<String> {
        match self {
            Self::Pods(among, pods) => {
                let namespace = &pod.view.key.namespace;
                let is_there = match among {
                    Namespaces::One(name) => name == namespace,
                    Namespaces::Labelled(selector) => namespaces.get(namespace).is_some_and(|labels| selector.matches(labels)),
                };
                if is_there && pods.matches(&pod.view.labels) { vec![pod.address.to_string()] } else { Vec::new() }
            }
            Self::Ports { protocol: over, name, local } => {
                let named = pod.view.ports.iter().filter(|port| port.name == *name && port.protocol == *over);
                let counted = named.filter(|_| pod.local || !local);
                counted.map(|port| format!("{} . {} . {}", pod.address, protocol(*over), port.number)).collect()
            }
        }
    }
}
