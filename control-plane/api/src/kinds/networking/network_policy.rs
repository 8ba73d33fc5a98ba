//! `NetworkPolicy`.

use serde_json::{Value, json};

use super::super::builder::{Describe, resource};
use super::super::value::{absent, child, fill, int, list, list_mut, text};
use super::GROUP;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::{age, or_none};
use crate::selector::LabelSelector;
use crate::status::Cause;
use crate::validate::{
    Path, cidr, complaints, forbidden, invalid, invalid_text, not_supported, port_name, port_number, required,
    validate_label_selector,
};

struct NetworkPolicy;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "NetworkPolicy", "networkpolicies", Scope::Namespaced, NetworkPolicy).short("netpol")
}

const COLUMNS: &[Column] = &[Column::text("Pod-Selector", "The pods that it is about."), Column::AGE];

impl Strategy for NetworkPolicy {
    fn default(&self, object: &mut Value) {
        for direction in ["ingress", "egress"] {
            for rule in list_mut(object, &format!("/spec/{direction}")) {
                list_mut(rule, "/ports").for_each(|port| fill(port, "protocol", "TCP"));
            }
        }
        let Some(spec) = child(object, "spec") else { return };
        if list(spec, "/policyTypes").is_empty() {
            let types = if list(spec, "/egress").is_empty() { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
            spec["policyTypes"] = types;
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let spec = Path::root("spec");
        let mut causes = validate_label_selector(object.pointer("/spec/podSelector"), &spec.field("podSelector"));
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            let rules = spec.field(direction);
            for (index, rule) in list(object, &format!("/spec/{direction}")).iter().enumerate() {
                let at = rules.index(index);
                let ports = at.field("ports");
                for (index, port) in list(rule, "/ports").iter().enumerate() {
                    check_port(port, &ports.index(index), &mut causes);
                }
                let path = at.field(peers);
                for (index, peer) in list(rule, &format!("/{peers}")).iter().enumerate() {
                    check_peer(peer, &path.index(index), &mut causes);
                }
            }
        }
        let types = list(object, "/spec/policyTypes");
        let at = spec.field("policyTypes");
        if types.len() > 2 {
            causes.push(invalid(at, &types.into(), "may not specify more than two policyTypes"));
            return causes;
        }
        for (index, kind) in types.iter().filter_map(Value::as_str).enumerate() {
            if !matches!(kind, "Ingress" | "Egress") {
                causes.push(not_supported(at.index(index), kind, &["Egress", "Ingress"]));
            }
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let selector = LabelSelector::from_document(object.pointer("/spec/podSelector"))
            .map(|selector| selector.to_string())
            .unwrap_or_default();
        vec![or_none(&selector).into(), age(object, context.now).into()]
    }
}

fn check_port(port: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let protocol = text(port, "/protocol");
    if !matches!(protocol, "SCTP" | "TCP" | "UDP") {
        causes.push(not_supported(at.field("protocol"), protocol, &["SCTP", "TCP", "UDP"]));
    }
    let place = at.field("port");
    match port.get("port") {
        None | Some(Value::Null) => {
            if !absent(port, "/endPort") {
                causes.push(required(place, "must be specified when `endPort` is also specified"));
            }
        }
        Some(Value::String(name)) => {
            if !absent(port, "/endPort") {
                causes.push(invalid_text(place, name, "must be integer if `endPort` is specified"));
            }
            causes.extend(complaints(place, name, port_name(name)));
        }
        Some(number) => {
            let first = number.as_i64().unwrap_or(0);
            causes.extend(port_number(first).into_iter().map(|why| invalid(place, number, why)));
            if let Some(last) = int(port, "/endPort") {
                let at = at.field("endPort");
                if last < first {
                    causes.push(invalid(at, &last.into(), "must be greater than or equal to `port`"));
                }
                causes.extend(port_number(last).into_iter().map(|why| invalid(at, &last.into(), why)));
            }
        }
    }
}

fn check_peer(peer: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let mut kinds = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if !absent(peer, &format!("/{field}")) {
            kinds += 1;
            causes.extend(validate_label_selector(peer.get(field), &at.field(field)));
        }
    }
    if let Some(block) = peer.get("ipBlock").filter(|block| !block.is_null()) {
        kinds += 1;
        check_block(block, &at.field("ipBlock"), causes);
    }
    if kinds == 0 {
        causes.push(required(at, "must specify a peer"));
    } else if kinds > 1 && !absent(peer, "/ipBlock") {
        causes.push(forbidden(at, "may not specify both ipBlock and another peer"));
    }
}

fn check_block(block: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let range = text(block, "/cidr");
    if range.is_empty() {
        causes.push(required(at.field("cidr"), ""));
        return;
    }
    let before = causes.len();
    causes.extend(complaints(at.field("cidr"), range, cidr(range)));
    if causes.len() > before {
        return;
    }
    let except = at.field("except");
    for (index, inner) in list(block, "/except").iter().enumerate() {
        let (at, inner) = (except.index(index), inner.as_str().unwrap_or(""));
        let wrong = cidr(inner);
        if wrong.is_empty() && !is_strictly_within(inner, range) {
            causes.push(invalid_text(at, inner, format!("must be a strict subset of `cidr` \"{range}\"")));
        }
        causes.extend(complaints(at, inner, wrong));
    }
}

/// Both are valid ranges.
fn is_strictly_within(inner: &str, outer: &str) -> bool {
    let bits = |range: &str| -> Option<(u128, u32, u32)> {
        let (address, prefix) = range.split_once('/')?;
        let prefix: u32 = prefix.parse().ok()?;
        Some(match address.parse::<std::net::IpAddr>().ok()? {
            std::net::IpAddr::V4(address) => (u128::from(u32::from(address)), prefix, 32),
            std::net::IpAddr::V6(address) => (u128::from(address), prefix, 128),
        })
    };
    let (Some((inner, inner_prefix, inner_size)), Some((outer, outer_prefix, size))) = (bits(inner), bits(outer)) else {
        return false;
    };
    let network = |address: u128| address.checked_shr(size - outer_prefix).unwrap_or(0);
    inner_size == size && inner_prefix > outer_prefix && network(inner) == network(outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_about_ingress_unless_it_has_egress_rules() {
        for (spec, types) in
            [(json!({"podSelector": {}}), json!(["Ingress"])), (json!({"egress": [{}]}), json!(["Ingress", "Egress"]))]
        {
            let mut object = json!({"spec": spec});
            NetworkPolicy.default(&mut object);
            assert_eq!(object["spec"]["policyTypes"], types);
            assert_eq!(NetworkPolicy.validate(&object), []);
        }
    }

    #[test]
    fn wrong_peers_and_ports_are_named() {
        let object = json!({"spec": {"podSelector": {}, "policyTypes": ["Both"], "ingress": [{
            "ports": [{"protocol": "TCP", "port": 80, "endPort": 79}, {"protocol": "X", "port": "Http"}],
            "from": [{}, {"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16", "10.1.0.0/16"]}}],
        }]}});
        let fields: Vec<String> = NetworkPolicy.validate(&object).into_iter().map(|cause| cause.field).collect();
        assert_eq!(
            fields,
            [
                "spec.ingress[0].ports[0].endPort",
                "spec.ingress[0].ports[1].protocol",
                "spec.ingress[0].ports[1].port",
                "spec.ingress[0].from[0]",
                "spec.ingress[0].from[1]",
                "spec.ingress[0].from[2].ipBlock.except[0]",
                "spec.policyTypes[0]",
            ]
        );
    }
}
