//! What an update keeps of what the service was given, and what goes with the former type.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::value::{fill, int, list, list_mut, text};
use crate::Pointed as _;
use crate::service_addresses::{has_address, has_health_check, has_node_ports};

/// The fields that come with an address.
const ADDRESS: [&str; 4] = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];

fn node_ports(service: &Value) -> BTreeSet<i64> {
    list(service, "/spec/ports").iter().filter_map(|port| int(port, "/nodePort")).filter(|port| *port != 0).collect()
}

/// Fills in what was given and the update does not mention.
pub(super) fn keep(object: &mut Value, old: &Value) {
    let (addresses, ports) = (has_address(object) && has_address(old), has_node_ports(object) && has_node_ports(old));
    let health_check = has_health_check(object) && has_health_check(old);
    let taken: BTreeSet<i64> = node_ports(old).intersection(&node_ports(object)).copied().collect();
    let (Some(spec), Some(before)) = (object.get_mut("spec"), old.get("spec")) else { return };
    if addresses {
        fill_addresses(spec, before);
    }
    if ports {
        // A port is known by its name: the rest of it may have changed.
        let mut known: BTreeMap<&str, i64> =
            list(before, "/ports").iter().filter_map(|port| Some((text(port, "/name"), int(port, "/nodePort")?))).collect();
        for port in list_mut(spec, "/ports").filter(|port| int(port, "/nodePort").unwrap_or(0) == 0) {
            let number = known.remove(text(port, "/name")).filter(|number| !taken.contains(number));
            if let (Some(number), Some(port)) = (number, port.as_object_mut()) {
                port.insert("nodePort".to_owned(), number.into());
            }
        }
    }
    if health_check
        && int(spec, "/healthCheckNodePort").unwrap_or(0) == 0
        && let (Some(spec), Some(port)) = (spec.as_object_mut(), before.get("healthCheckNodePort"))
    {
        spec.insert("healthCheckNodePort".to_owned(), port.clone());
    }
}

fn fill_addresses(spec: &mut Value, before: &Value) {
    // Clients that know one address only change or clear that, and send the list that mirrors it as they got it.
    let (new, old) = (text(spec, "/clusterIP").to_owned(), text(before, "/clusterIP"));
    if !new.is_empty() && new != old && spec.get("clusterIPs") == before.get("clusterIPs") {
        spec["clusterIPs"] = serde_json::json!([new]);
    }
    for field in ADDRESS {
        if let Some(value) = before.get(field) {
            fill(spec, field, value.clone());
        }
    }
}

/// Drops what only the former type had, where the update leaves it as it was.
pub(super) fn drop_former(object: &mut Value, old: &Value) {
    let same = |object: &Value, field: &str| object.at(field) == old.at(field);
    let mut gone: Vec<&str> = Vec::new();
    let lost = |had: fn(&Value) -> bool| had(old) && !had(object);
    if lost(has_address) {
        let cleared = text(object, "/spec/clusterIP").is_empty() && !text(old, "/spec/clusterIP").is_empty();
        let no_list = list(object, "/spec/clusterIPs").is_empty();
        if (cleared && no_list) || ((cleared || same(object, "/spec/clusterIP")) && same(object, "/spec/clusterIPs")) {
            gone.extend(["clusterIP", "clusterIPs"]);
        }
        gone.extend(["ipFamilies", "ipFamilyPolicy"].into_iter().filter(|field| same(object, &format!("/spec/{field}"))));
    }
    if lost(has_health_check) && same(object, "/spec/healthCheckNodePort") {
        gone.push("healthCheckNodePort");
    }
    let is_balancer: fn(&Value) -> bool = |service| text(service, "/spec/type") == "LoadBalancer";
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if lost(is_balancer) && same(object, &format!("/spec/{field}")) {
            gone.push(field);
        }
    }
    let is_external: fn(&Value) -> bool = |service| has_node_ports(service) || !list(service, "/spec/externalIPs").is_empty();
    if lost(is_external) && same(object, "/spec/externalTrafficPolicy") {
        gone.push("externalTrafficPolicy");
    }
    let ports_go = lost(has_node_ports) && node_ports(object) == node_ports(old);
    let Some(spec) = object.get_mut("spec") else { return };
    if ports_go {
        for port in list_mut(spec, "/ports").filter_map(Value::as_object_mut) {
            port.remove("nodePort");
        }
    }
    if let Some(spec) = spec.as_object_mut() {
        for field in gone {
            spec.remove(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(kind: &str, more: Value) -> Value {
        let mut spec = json!({"type": kind, "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "ports": [{"name": "a", "port": 80, "protocol": "TCP", "nodePort": 30080}]});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        json!({"spec": spec})
    }

    #[test]
    fn a_port_keeps_its_node_port_by_its_name_unless_another_took_it() {
        let old = service("NodePort", json!({}));
        let mut new = service("NodePort", json!({"ports": [{"name": "a", "port": 81, "protocol": "TCP"}]}));
        keep(&mut new, &old);
        assert_eq!(new["spec"]["ports"][0]["nodePort"], 30080);
        let moved = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30080}]);
        let mut new = service("NodePort", json!({"ports": moved}));
        keep(&mut new, &old);
        assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);
    }

    #[test]
    fn what_the_former_type_had_goes_where_it_was_left_as_it_was() {
        let old = service(
            "LoadBalancer",
            json!({"externalTrafficPolicy": "Local", "healthCheckNodePort": 31000, "allocateLoadBalancerNodePorts": true,
                "loadBalancerClass": "x/y"}),
        );
        let mut plain = old.clone();
        plain["spec"]["type"] = json!("ClusterIP");
        drop_former(&mut plain, &old);
        let expected = json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "ports": [{"name": "a", "port": 80, "protocol": "TCP"}]});
        assert_eq!(plain["spec"], expected);
        let mut external = plain.clone();
        external["spec"]["type"] = json!("ExternalName");
        drop_former(&mut external, &plain);
        assert_eq!(external["spec"], json!({"type": "ExternalName", "ports": [{"name": "a", "port": 80, "protocol": "TCP"}]}));
        // A port that the update asks for is refused, not dropped.
        let mut asked = old.clone();
        asked["spec"]["type"] = json!("ClusterIP");
        asked["spec"]["ports"][0]["nodePort"] = json!(30081);
        drop_former(&mut asked, &old);
        assert_eq!(asked["spec"]["ports"][0]["nodePort"], 30081);
    }
}
