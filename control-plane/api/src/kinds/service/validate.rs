//! What is wrong with a service (`core/validation.ValidateService`).

use std::collections::HashSet;

use serde_json::Value;

use super::super::value::{absent, int, list, text};
use crate::Pointed as _;
use crate::service_addresses::has_health_check;
use crate::status::Cause;
use crate::validate::{
    Path, complaints, dns1123_label, dns1123_subdomain, duplicate, forbidden, invalid, ip_address, not_supported, one_of,
    port_name, port_number, public_address, qualified_name, required, validate_labels,
};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub(super) fn validate(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = Path::root("spec");
    let kind = text(object, "/spec/type");
    if !TYPES.contains(&kind) {
        causes.push(not_supported(spec.field("type"), kind, TYPES));
    }
    let cluster_ip = text(object, "/spec/clusterIP");
    let ports = list(object, "/spec/ports");
    match kind {
        "ExternalName" => {
            match text(object, "/spec/externalName") {
                "" => causes.push(required(spec.field("externalName"), "")),
                name => {
                    let name = name.strip_suffix('.').unwrap_or(name);
                    causes.extend(complaints(spec.field("externalName"), name, dns1123_subdomain(name)));
                }
            }
            if !cluster_ip.is_empty() && list(object, "/spec/clusterIPs").is_empty() {
                causes.push(forbidden(spec.field("clusterIPs"), "may not be set for ExternalName services"));
            }
        }
        _ if ports.is_empty() && cluster_ip != "None" => causes.push(required(spec.field("ports"), "")),
        "LoadBalancer" | "NodePort" if cluster_ip == "None" => causes.push(invalid(
            spec.field("clusterIPs").index(0),
            &"None".into(),
            format!("may not be set to 'None' for {kind} services"),
        )),
        _ => {}
    }
    if !matches!(cluster_ip, "" | "None") {
        causes.extend(complaints(spec.field("clusterIPs").index(0), cluster_ip, ip_address(cluster_ip)));
    }
    let ips = list(object, "/spec/clusterIPs");
    if let Some(first) = ips.first()
        && kind != "ExternalName"
        && first != cluster_ip
    {
        causes.push(invalid(spec.field("clusterIPs"), &ips.into(), "first value must match `clusterIP`"));
    }
    check_families(object, &mut causes);
    check_ports(ports, kind, &spec.field("ports"), &mut causes);
    check_external(object, kind, &mut causes);
    causes.extend(validate_labels("spec.selector", object.at("/spec/selector")));
    causes.extend(one_of(spec.field("sessionAffinity"), text(object, "/spec/sessionAffinity"), &["ClientIP", "None"]));
    for field in ["internalTrafficPolicy", "externalTrafficPolicy"] {
        causes.extend(one_of(spec.field(field), text(object, &format!("/spec/{field}")), &["Cluster", "Local"]));
    }
    if let Some(seconds) = int(object, "/spec/sessionAffinityConfig/clientIP/timeoutSeconds")
        && !(1..=86400).contains(&seconds)
    {
        let at = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        causes.push(invalid(at, &seconds.into(), "must be greater than 0 and less than 86400"));
    }
    let external = spec.field("externalIPs");
    for (index, ip) in list(object, "/spec/externalIPs").iter().enumerate() {
        let ip = ip.as_str().unwrap_or("");
        causes.extend(complaints(external.index(index), ip, public_address(ip)));
    }
    let traffic = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    causes.extend(one_of(spec.field("trafficDistribution"), text(object, "/spec/trafficDistribution"), &traffic));
    causes
}

/// The fields of the address families, as far as they can be wrong whatever the cluster has.
fn check_families(object: &Value, causes: &mut Vec<Cause>) {
    let spec = Path::root("spec");
    let (ips, families) = (list(object, "/spec/clusterIPs"), list(object, "/spec/ipFamilies"));
    let policy = text(object, "/spec/ipFamilyPolicy");
    if text(object, "/spec/type") == "ExternalName" {
        for (field, is_set) in
            [("clusterIPs", !ips.is_empty()), ("ipFamilies", !families.is_empty()), ("ipFamilyPolicy", !policy.is_empty())]
        {
            if is_set {
                causes.push(forbidden(spec.field(field), "may not be set for ExternalName services"));
            }
        }
        return;
    }
    causes.extend(one_of(spec.field("ipFamilyPolicy"), policy, &["PreferDualStack", "RequireDualStack", "SingleStack"]));
    let mut seen = HashSet::new();
    for (index, family) in families.iter().enumerate() {
        let field = spec.field("ipFamilies");
        let at = field.index(index);
        let name = family.as_str().unwrap_or("");
        match name {
            "IPv4" | "IPv6" if !seen.insert(name) => causes.push(duplicate(at, family)),
            "IPv4" | "IPv6" => {}
            _ => causes.push(not_supported(at, name, &["IPv4", "IPv6"])),
        }
    }
    if ips.len() > 2 {
        causes.push(invalid(spec.field("clusterIPs"), &ips.into(), "may only hold up to 2 values"));
    }
    let family = |ip: &str| if ip.contains(':') { "IPv6" } else { "IPv4" };
    for (index, ip) in ips.iter().enumerate() {
        let field = spec.field("clusterIPs");
        let (at, ip) = (field.index(index), ip.as_str().unwrap_or(""));
        match ip {
            "None" if ips.len() > 1 => {
                causes.push(invalid(spec.field("clusterIPs"), &ips.into(), "'None' must be the first and only value"));
            }
            "None" => {}
            // The first is told of beside `clusterIP`.
            _ if index > 0 => causes.extend(complaints(&at, ip, ip_address(ip))),
            _ => {}
        }
        if let Some(asked) = families.get(index).filter(|asked| ip != "None" && **asked != family(ip)) {
            let why = format!("expected an {} value as indicated by `ipFamilies[{index}]`", asked.as_str().unwrap_or(""));
            causes.push(invalid(at, &ip.into(), why));
        }
    }
}

/// What is for traffic from outside only.
fn check_external(object: &Value, kind: &str, causes: &mut Vec<Cause>) {
    let spec = Path::root("spec");
    let outside = matches!(kind, "NodePort" | "LoadBalancer") || !list(object, "/spec/externalIPs").is_empty();
    let policy = text(object, "/spec/externalTrafficPolicy");
    if !outside && !policy.is_empty() {
        let why = "may only be set for externally-accessible services";
        causes.push(invalid(spec.field("externalTrafficPolicy"), &policy.into(), why));
    }
    let port = int(object, "/spec/healthCheckNodePort").unwrap_or(0);
    if port != 0 && !has_health_check(object) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        causes.push(invalid(spec.field("healthCheckNodePort"), &port.into(), why));
    }
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if kind != "LoadBalancer" && !absent(object, &format!("/spec/{field}")) {
            causes.push(forbidden(spec.field(field), "may only be used when `type` is 'LoadBalancer'"));
        }
    }
    if kind == "LoadBalancer" && absent(object, "/spec/allocateLoadBalancerNodePorts") {
        causes.push(required(spec.field("allocateLoadBalancerNodePorts"), ""));
    }
}

fn check_ports(ports: &[Value], kind: &str, path: &Path, causes: &mut Vec<Cause>) {
    let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
    for (index, port) in ports.iter().enumerate() {
        let at = path.index(index);
        match text(port, "/name") {
            "" if ports.len() > 1 => causes.push(required(at.field("name"), "")),
            "" => {}
            name => {
                causes.extend(complaints(at.field("name"), name, dns1123_label(name)));
                if !names.insert(name) {
                    causes.push(duplicate(at.field("name"), &name.into()));
                }
            }
        }
        let number = int(port, "/port").unwrap_or(0);
        causes.extend(port_number(number).into_iter().map(|detail| invalid(at.field("port"), &number.into(), detail)));
        let protocol = text(port, "/protocol");
        match protocol {
            "" => causes.push(required(at.field("protocol"), "")),
            protocol => causes.extend(one_of(at.field("protocol"), protocol, &["SCTP", "TCP", "UDP"])),
        }
        match port.get("targetPort") {
            Some(Value::String(name)) => causes.extend(complaints(at.field("targetPort"), name, port_name(name))),
            Some(target) => {
                let wrong = port_number(target.as_i64().unwrap_or(0));
                causes.extend(wrong.into_iter().map(|detail| invalid(at.field("targetPort"), target, detail)));
            }
            None => {}
        }
        if let Some(name) = port.get("appProtocol").and_then(Value::as_str) {
            causes.extend(complaints(at.field("appProtocol"), name, qualified_name(name)));
        }
        if int(port, "/nodePort").unwrap_or(0) != 0 && !matches!(kind, "NodePort" | "LoadBalancer") {
            causes.push(forbidden(at.field("nodePort"), &format!("may not be used when `type` is '{kind}'")));
        }
        if !numbers.insert((protocol, number)) {
            causes.push(duplicate(at, &serde_json::json!({"port": number, "protocol": protocol})));
        }
    }
}

pub(super) fn validate_update(object: &Value, old: &Value) -> Vec<Cause> {
    let external = |object: &Value| text(object, "/spec/type") == "ExternalName";
    let (new, before) = (text(object, "/spec/clusterIP"), text(old, "/spec/clusterIP"));
    let mut causes = Vec::new();
    if !external(object) && !external(old) {
        if !before.is_empty() && new != before {
            causes.push(invalid("spec.clusterIPs[0]", &new.into(), "may not change once set"));
        }
        check_second(object, old, &mut causes);
    }
    let class = |object: &Value| text(object, "/spec/loadBalancerClass").to_owned();
    let balanced = |object: &Value| text(object, "/spec/type") == "LoadBalancer";
    if balanced(object) && balanced(old) && class(object) != class(old) {
        causes.push(invalid("spec.loadBalancerClass", &class(object).into(), "may not change once set"));
    }
    causes
}

/// What is of the second family comes and goes, but does not change (`core/validation.ValidateServiceClusterIPsRelatedFields`).
fn check_second(object: &Value, old: &Value, causes: &mut Vec<Cause>) {
    let policy = text(object, "/spec/ipFamilyPolicy");
    for (field, what) in [("clusterIPs", "clusterIP"), ("ipFamilies", "ipFamily")] {
        let (new, before) = (list(object, &format!("/spec/{field}")), list(old, &format!("/spec/{field}")));
        let spec = Path::root("spec");
        let path = spec.field(field);
        let at = |index| path.index(index);
        if field == "ipFamilies"
            && let (Some(new), Some(before)) = (new.first(), before.first())
            && new != before
        {
            causes.push(invalid(at(0), new, "may not change once set"));
        }
        match (new.get(1), before.get(1)) {
            (Some(new), Some(before)) if new != before => causes.push(invalid(at(1), new, "may not change once set")),
            (None, Some(_)) if policy != "SingleStack" => {
                let why = format!("must be set to 'SingleStack' when releasing the secondary {what}");
                causes.push(invalid("spec.ipFamilyPolicy", &policy.into(), why));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_wrong_field_of_a_service_is_named() {
        for (spec, wrong) in [
            (json!({"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}), vec![]),
            (json!({"type": "ClusterIP", "clusterIP": "None"}), vec![]),
            (json!({"type": "ClusterIP"}), vec!["spec.ports: Required value"]),
            (
                json!({"type": "ClusterIP", "clusterIP": "None", "externalIPs": ["127.0.0.1"], "trafficDistribution": "X"}),
                vec![
                    "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                    "spec.trafficDistribution: Unsupported value: \"X\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
                ],
            ),
            (
                json!({"type": "Other", "clusterIP": "None"}),
                vec![
                    "spec.type: Unsupported value: \"Other\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                ],
            ),
            (json!({"type": "ExternalName"}), vec!["spec.externalName: Required value"]),
            (
                json!({"type": "ClusterIP", "ports": [{"port": 0, "protocol": "X", "targetPort": "-", "nodePort": 1}]}),
                vec![
                    "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "spec.ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                    "spec.ports[0].targetPort: Invalid value: \"-\": must contain at least one letter (a-z)",
                    "spec.ports[0].targetPort: Invalid value: \"-\": must not begin or end with a hyphen",
                    "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
                ],
            ),
            (
                json!({"type": "ClusterIP", "ports": [{"port": 1, "protocol": "TCP"}, {"name": "a", "port": 1, "protocol": "TCP"}]}),
                vec!["spec.ports[0].name: Required value", "spec.ports[1]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\"}"],
            ),
        ] {
            let causes: Vec<String> =
                validate(&json!({"spec": spec})).iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
            assert_eq!(causes, wrong, "{spec}");
        }
    }
}
