//! `EndpointSlice`.

use serde_json::Value;

use super::builder::resource;
use super::value::{int, list, list_mut, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{
    Path, complaints, dns1123_label, dns1123_subdomain, duplicate, immutable, invalid_text, ip_address, not_supported, one_of,
    required, too_many,
};

struct EndpointSlice;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("discovery.k8s.io", "EndpointSlice", "endpointslices", Scope::Namespaced, EndpointSlice)
}

const COLUMNS: &[Column] = &[
    Column::text("AddressType", "The kind of the addresses."),
    Column::text("Ports", "The ports of the endpoints."),
    Column::text("Endpoints", "The addresses of the endpoints."),
    Column::AGE,
];

impl Strategy for EndpointSlice {
    fn default(&self, object: &mut Value) {
        for port in list_mut(object, "/ports") {
            if let Some(port) = port.as_object_mut() {
                port.entry("name").or_insert_with(|| "".into());
                port.entry("protocol").or_insert_with(|| "TCP".into());
            }
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let kind = text(object, "/addressType");
        match kind {
            "" => causes.push(required("addressType", "")),
            "FQDN" | "IPv4" | "IPv6" => {}
            other => causes.push(not_supported("addressType", other, &["FQDN", "IPv4", "IPv6"])),
        }
        let endpoints = list(object, "/endpoints");
        if endpoints.len() > MAX_ENDPOINTS {
            causes.push(too_many("endpoints", endpoints.len(), MAX_ENDPOINTS));
        }
        let root = Path::root("endpoints");
        for (index, endpoint) in endpoints.iter().enumerate() {
            let at = root.index(index);
            check_addresses(list(endpoint, "/addresses"), kind, &at.field("addresses"), &mut causes);
            let node = text(endpoint, "/nodeName");
            if !node.is_empty() {
                causes.extend(complaints(at.field("nodeName"), node, dns1123_subdomain(node)));
            }
            let hostname = text(endpoint, "/hostname");
            if !hostname.is_empty() {
                causes.extend(complaints(at.field("hostname"), hostname, dns1123_label(hostname)));
            }
        }
        let mut names = std::collections::HashSet::new();
        let root = Path::root("ports");
        for (index, port) in list(object, "/ports").iter().enumerate() {
            let (at, name) = (root.index(index), text(port, "/name"));
            if !name.is_empty() {
                causes.extend(complaints(at.field("name"), name, dns1123_label(name)));
            }
            if !names.insert(name) {
                causes.push(duplicate(at.field("name"), &name.into()));
            }
            causes.extend(one_of(at.field("protocol"), text(port, "/protocol"), &["SCTP", "TCP", "UDP"]));
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        immutable("addressType", object.get("addressType"), old.get("addressType")).into_iter().collect()
    }

    fn has_generation(&self, _object: &Value) -> bool {
        true
    }

    fn is_new_generation(&self, object: &Value, old: &Value) -> bool {
        ["endpoints", "ports"].iter().any(|field| object.get(field) != old.get(field))
            || object.pointer("/metadata/labels") != old.pointer("/metadata/labels")
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let ports = list(object, "/ports").iter().map(|port| int(port, "/port").map_or("*".to_owned(), |port| port.to_string()));
        let addresses = list(object, "/endpoints").iter().flat_map(|endpoint| list(endpoint, "/addresses"));
        let addresses = addresses.map(|address| address.as_str().unwrap_or("").to_owned());
        vec![
            text(object, "/addressType").into(),
            shortened(ports.collect()).into(),
            shortened(addresses.collect()).into(),
            age(object, context.now).into(),
        ]
    }
}

fn check_addresses(addresses: &[Value], kind: &str, at: &Path, causes: &mut Vec<Cause>) {
    if addresses.is_empty() {
        causes.push(required(at, "must contain at least 1 endpoint"));
    }
    if addresses.len() > MAX_ADDRESSES {
        causes.push(too_many(at, addresses.len(), MAX_ADDRESSES));
    }
    for (index, address) in addresses.iter().enumerate() {
        let address = address.as_str().unwrap_or("");
        if kind == "FQDN" {
            continue;
        }
        let wrong = ip_address(address);
        if wrong.is_empty() && address.contains(':') != (kind == "IPv6") {
            causes.push(invalid_text(at.index(index), address, format!("must be an {kind} address")));
        }
        causes.extend(complaints(at.index(index), address, wrong));
    }
}

/// The first three, and how many more there are.
fn shortened(parts: Vec<String>) -> String {
    match parts.len() {
        0 => "<unset>".to_owned(),
        count if count > 3 => format!("{} + {} more...", parts[..3].join(","), count - 3),
        _ => parts.join(","),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slice_shows_its_first_endpoints() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
        let slice = json!({"addressType": "IPv4", "ports": [{"port": 80}, {}],
            "endpoints": [{"addresses": ["10.0.0.1", "10.0.0.2"]}, {"addresses": ["10.0.0.3"]}, {"addresses": ["10.0.0.4"]}]});
        let cells = EndpointSlice.cells(&slice, Context { now });
        assert_eq!(cells[..3], [json!("IPv4"), json!("80,*"), json!("10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...")]);
        assert_eq!(EndpointSlice.cells(&json!({}), Context { now })[1], "<unset>");
    }

    #[test]
    fn addresses_are_of_the_slices_type_which_stays() {
        let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}, {"addresses": [], "nodeName": "A_"}], "ports": [{"name": "a"}, {"name": "a"}]});
        let fields: Vec<String> = EndpointSlice.validate(&slice).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["endpoints[0].addresses[0]", "endpoints[1].addresses", "endpoints[1].nodeName", "ports[1].name"]);
        assert_eq!(EndpointSlice.validate_update(&json!({"addressType": "IPv6"}), &slice)[0].field, "addressType");
    }
}
