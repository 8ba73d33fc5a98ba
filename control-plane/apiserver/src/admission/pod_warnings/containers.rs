//! Containers: variables and ports that stand there twice, and amounts.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{MOST, fractions, items};

/// Ports that are compared with those before them, each with each: more than any pod has, few enough to cost nothing.
const COMPARED: usize = 500;

pub(super) fn of(spec: &Value, at: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut ports: Vec<Port> = Vec::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in items(&spec[list]) {
            let at = format!("{at}.{list}[{index}]");
            for amounts in ["limits", "requests"] {
                warnings.extend(fractions(&container["resources"][amounts], &format!("{at}.resources.{amounts}")));
            }
            warnings.extend(variables(&container["env"], &at));
            for (index, port) in items(&container["ports"]) {
                let port = Port { at: format!("{at}.ports[{index}]"), port };
                let room = MOST.saturating_sub(warnings.len());
                warnings.extend(ports.iter().take(COMPARED).filter_map(|other| port.beside(other)).take(room));
                ports.push(port);
            }
        }
    }
    let mut first: HashMap<&str, &str> = HashMap::new();
    for port in &ports {
        let name = port.text("name");
        if name.is_empty() {
            continue;
        }
        let other = *first.entry(name).or_insert(&port.at);
        if other != port.at {
            let who = format!("services and probes that select ports by name will use {other}");
            warnings.push(format!("{}: duplicate port name {name:?} with {other}, {who}", port.at));
        }
    }
    warnings
}

/// Variables that take the place of one before them without building on it.
fn variables(env: &Value, at: &str) -> Vec<String> {
    let mut before = HashSet::new();
    let hides = |(index, variable): (usize, &Value)| {
        let name = variable["name"].as_str().unwrap_or_default();
        let reference = format!("$({name})");
        let value = variable["value"].as_str().unwrap_or_default();
        let builds_on_it = variable["valueFrom"].is_null() && value != reference && value.contains(&reference);
        (!before.insert(name.to_owned()) && !builds_on_it)
            .then(|| format!("{at}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"))
    };
    items(env).filter_map(hides).collect()
}

struct Port<'a> {
    at: String,
    port: &'a Value,
}

impl<'a> Port<'a> {
    fn number(&self, key: &str) -> i64 {
        self.port[key].as_i64().unwrap_or_default()
    }

    fn text(&self, key: &str) -> &'a str {
        self.port[key].as_str().unwrap_or_default()
    }

    fn beside(&self, other: &Self) -> Option<String> {
        let same =
            self.number("containerPort") == other.number("containerPort") && self.text("protocol") == other.text("protocol");
        if !same {
            return None;
        }
        let (ip, other_ip) = (self.text("hostIP"), other.text("hostIP"));
        let (port, other_port) = (self.number("hostPort"), other.number("hostPort"));
        let what = if (ip, port) == (other_ip, other_port) {
            "duplicate"
        } else if port == 0 || other_port == 0 {
            "overlapping"
        } else if port == other_port && ip.is_empty() != other_ip.is_empty() {
            "dangerously ambiguous"
        } else {
            return None;
        };
        Some(format!("{}: {what} port definition with {}", self.at, other.at))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_variable_hides_another_unless_it_builds_on_it() {
        let env = json!([{"name": "a", "value": "a"}, {"name": "a", "value": "other"}, {"name": "a"},
            {"name": "a", "value": "$(a)"}, {"name": "a", "valueFrom": {}}, {"name": "a", "value": "$(a) $(a)"}, {"name": "b"}]);
        let hides = |index| format!("c.env[{index}]: hides previous definition of \"a\", which may be dropped when using apply");
        assert_eq!(variables(&env, "c"), [1, 2, 3, 4].map(hides));
    }

    #[test]
    fn ports_and_their_names_are_compared_over_all_containers() {
        let port = |name: &str, number: i64, host: i64, ip: &str| json!({"name": name, "containerPort": number, "protocol": "TCP", "hostPort": host, "hostIP": ip});
        let spec = json!({
        "initContainers": [{"ports": [port("web", 80, 0, "")]}],
        "containers": [
            {"ports": [port("web", 81, 0, ""), port("", 80, 0, ""), port("", 80, 8080, "")]},
            {"ports": [port("", 82, 8082, ""), port("", 82, 8082, "127.0.0.1"), port("", 82, 9, "127.0.0.1")]},
        ]});
        assert_eq!(
            of(&spec, "spec"),
            [
                "spec.containers[0].ports[1]: duplicate port definition with spec.initContainers[0].ports[0]",
                "spec.containers[0].ports[2]: overlapping port definition with spec.initContainers[0].ports[0]",
                "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[1]",
                "spec.containers[1].ports[1]: dangerously ambiguous port definition with spec.containers[1].ports[0]",
                concat!(
                    "spec.containers[0].ports[0]: duplicate port name \"web\" with spec.initContainers[0].ports[0], ",
                    "services and probes that select ports by name will use spec.initContainers[0].ports[0]"
                ),
            ]
        );
    }

    #[test]
    fn a_manifest_that_is_nothing_but_ports_costs_no_more_than_its_length() {
        let ports: Vec<Value> = (0..20_000).map(|_| json!({"containerPort": 80, "protocol": "TCP"})).collect();
        assert_eq!(of(&json!({"containers": [{"ports": ports}]}), "spec").len(), MOST);
    }

    #[test]
    fn bytes_are_whole() {
        let spec = json!({"containers": [{"resources": {"limits": {"memory": "100m", "cpu": "100m"}}}]});
        let wanted = "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer";
        assert_eq!(of(&spec, "spec"), [wanted]);
    }
}
