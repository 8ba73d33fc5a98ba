//! What only the runtime knows of a pod, told to those plugins that ask for it (`capabilities`; CONVENTIONS.md of the
//! specification). Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Plugin;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeConfig {
    pub port_mappings: Vec<PortMapping>,
    pub bandwidth: Option<Bandwidth>,
    /// Addresses that the pod asks for, with their prefix lengths.
    pub ips: Vec<String>,
    pub mac: Option<String>,
}

/// A port of the machine that leads to the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    pub host_port: u16,
    pub container_port: u16,
    /// In small letters.
    pub protocol: String,
    /// Empty for every address of the machine.
    #[serde(rename = "hostIP", default, skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
}

/// To the pod and from it: bits per second, and bits at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_rate: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_burst: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_rate: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_burst: Option<u64>,
}

impl RuntimeConfig {
    /// All there is, by capability.
    pub(crate) fn arguments(&self) -> Map<String, Value> {
        let mut all = Map::new();
        let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
        if !self.port_mappings.is_empty() {
            put("portMappings", json!(self.port_mappings));
        }
        if let Some(bandwidth) = &self.bandwidth {
            put("bandwidth", json!(bandwidth));
        }
        if !self.ips.is_empty() {
            put("ips", json!(self.ips));
        }
        if let Some(mac) = &self.mac {
            put("mac", json!(mac));
        }
        all
    }
}

/// `runtimeConfig` for a plugin; `None` when it has asked for nothing that there is.
pub(crate) fn told(arguments: &Map<String, Value>, plugin: &Plugin) -> Option<Value> {
    let told = arguments.iter().filter(|(name, _)| plugin.has_capability(name));
    let told: Map<String, Value> = told.map(|(name, value)| (name.clone(), value.clone())).collect();
    (!told.is_empty()).then_some(Value::Object(told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetworkList;

    #[test]
    fn a_plugin_is_told_what_it_asks_for_and_nothing_else() {
        let list =
            br#"{"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "bridge", "capabilities": {"ips": true, "mac": false}},
            {"type": "portmap", "capabilities": {"portMappings": true, "bandwidth": true}}, {"type": "tuning"}]}"#;
        let list = NetworkList::parse(list).expect("is valid");
        let port = PortMapping { host_port: 8080, container_port: 80, protocol: "tcp".into(), host_ip: String::new() };
        let config = RuntimeConfig {
            port_mappings: vec![port],
            bandwidth: Some(Bandwidth { egress_rate: Some(1_000_000), ..Bandwidth::default() }),
            ips: vec!["10.1.0.9/16".into()],
            mac: Some("0a:00:00:00:00:01".into()),
        };
        assert_eq!(told(&config.arguments(), &list.plugins[0]), Some(json!({"ips": ["10.1.0.9/16"]})));
        let mapped = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
        let expected = json!({"portMappings": mapped, "bandwidth": {"egressRate": 1_000_000}});
        assert_eq!(told(&config.arguments(), &list.plugins[1]), Some(expected));
        assert_eq!(told(&config.arguments(), &list.plugins[2]), None);
    }
}
