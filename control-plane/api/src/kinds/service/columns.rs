//! What `kubectl get services` shows.

use jiff::Timestamp;
use serde_json::Value;

use super::super::value::{entries, int, list, text};
use crate::descriptor::Column;
use crate::print::{age, or_none};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("Type", "How the service is exposed."),
    Column::text("Cluster-IP", "The service's address inside the cluster."),
    Column::text("External-IP", "The service's addresses outside the cluster."),
    Column::text("Port(s)", "The service's ports and their node ports."),
    Column::AGE,
    Column::wide("Selector", "The labels of the service's pods."),
];

pub(super) fn cells(service: &Value, now: Timestamp) -> Vec<Value> {
    let selector: Vec<String> =
        entries(service, "/spec/selector").map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
    let ip =
        list(service, "/spec/clusterIPs").first().and_then(Value::as_str).unwrap_or_else(|| text(service, "/spec/clusterIP"));
    [
        text(service, "/spec/type").to_owned(),
        or_none(ip).to_owned(),
        external(service),
        ports(service),
        age(service, now),
        or_none(&selector.join(",")).to_owned(),
    ]
    .into_iter()
    .map(Value::String)
    .collect()
}

fn external(service: &Value) -> String {
    let mut addresses: Vec<&str> = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    match text(service, "/spec/type") {
        "ExternalName" => or_none(text(service, "/spec/externalName")).to_owned(),
        "LoadBalancer" => {
            let ingress = list(service, "/status/loadBalancer/ingress").iter();
            addresses.extend(ingress.map(|point| match text(point, "/ip") {
                "" => text(point, "/hostname"),
                ip => ip,
            }));
            if addresses.is_empty() { "<pending>".to_owned() } else { addresses.join(",") }
        }
        _ => or_none(&addresses.join(",")).to_owned(),
    }
}

fn ports(service: &Value) -> String {
    let ports: Vec<String> = list(service, "/spec/ports")
        .iter()
        .map(|port| {
            let (number, protocol) = (int(port, "/port").unwrap_or(0), text(port, "/protocol"));
            match int(port, "/nodePort") {
                Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    or_none(&ports.join(",")).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_shows_its_addresses_and_ports() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
        let ports = json!([{"port": 80, "protocol": "TCP"}, {"port": 443, "protocol": "TCP", "nodePort": 30443}]);
        for (spec, expected) in [
            (
                json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": ports, "selector": {"a": "b", "c": "d"}}),
                ["ClusterIP", "10.0.0.1", "<none>", "80/TCP,443:30443/TCP", "<unknown>", "a=b,c=d"],
            ),
            (json!({"type": "LoadBalancer"}), ["LoadBalancer", "<none>", "<pending>", "<none>", "<unknown>", "<none>"]),
            (
                json!({"type": "ExternalName", "externalName": "x.y"}),
                ["ExternalName", "<none>", "x.y", "<none>", "<unknown>", "<none>"],
            ),
        ] {
            assert_eq!(cells(&json!({"spec": spec}), now), expected.map(Value::from));
        }
    }
}
