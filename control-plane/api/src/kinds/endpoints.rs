//! `Endpoints`.

use serde_json::Value;

use super::builder::{Describe, resource};
use super::value::{fill, int, list, list_mut, text};
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{
    Path, complaints, dns1123_label, invalid, port_number, public_address, qualified_name, required, required_one_of,
};

struct Endpoints;

pub(super) fn descriptor() -> ResourceDescriptor {
    let mut descriptor = resource("", "Endpoints", "endpoints", Scope::Namespaced, Endpoints).short("ep");
    descriptor.singular = "endpoints".into();
    descriptor
}

const COLUMNS: &[Column] = &[Column::text("Endpoints", "The addresses and ports that are ready."), Column::AGE];
/// So many addresses are shown.
const SHOWN: usize = 3;

impl Strategy for Endpoints {
    fn default(&self, object: &mut Value) {
        for subset in list_mut(object, "/subsets") {
            list_mut(subset, "/ports").for_each(|port| fill(port, "protocol", "TCP"));
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let subsets = Path::root("subsets");
        for (index, subset) in list(object, "/subsets").iter().enumerate() {
            let at = subsets.index(index);
            if list(subset, "/addresses").is_empty() && list(subset, "/notReadyAddresses").is_empty() {
                causes.push(required(at, "must specify `addresses` or `notReadyAddresses`"));
            }
            for field in ["addresses", "notReadyAddresses"] {
                let path = at.field(field);
                for (index, address) in list(subset, &format!("/{field}")).iter().enumerate() {
                    check_address(address, &path.index(index), &mut causes);
                }
            }
            let (path, ports) = (at.field("ports"), list(subset, "/ports"));
            for (index, port) in ports.iter().enumerate() {
                check_port(port, ports.len() > 1, &path.index(index), &mut causes);
            }
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![shown(object).into(), age(object, context.now).into()]
    }
}

fn check_address(address: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let ip = text(address, "/ip");
    let host = text(address, "/hostname");
    if !host.is_empty() {
        causes.extend(complaints(at.field("hostname"), host, dns1123_label(host)));
    }
    causes.extend(complaints(at.field("ip"), ip, public_address(ip)));
}

fn check_port(port: &Value, must_be_named: bool, at: &Path, causes: &mut Vec<Cause>) {
    match text(port, "/name") {
        "" if must_be_named => causes.push(required(at.field("name"), "")),
        "" => {}
        name => causes.extend(complaints(at.field("name"), name, dns1123_label(name))),
    }
    let number = int(port, "/port").unwrap_or(0);
    causes.extend(port_number(number).into_iter().map(|detail| invalid(at.field("port"), &number.into(), detail)));
    let protocol = text(port, "/protocol");
    causes.extend(required_one_of(at.field("protocol"), protocol, &["SCTP", "TCP", "UDP"]));
    let application = text(port, "/appProtocol");
    if !application.is_empty() {
        let wrong = qualified_name(application);
        causes.extend(complaints(at.field("appProtocol"), application, wrong));
    }
}

fn shown(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(object, "/subsets") {
        let addresses = || list(subset, "/addresses").iter().map(|address| text(address, "/ip"));
        let ports = list(subset, "/ports");
        if ports.is_empty() {
            all.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            let number = int(port, "/port").unwrap_or(0);
            all.extend(
                addresses().map(|ip| if ip.contains(':') { format!("[{ip}]:{number}") } else { format!("{ip}:{number}") }),
            );
        }
    }
    match all.len() {
        0 => "<none>".to_owned(),
        count if count > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), count - SHOWN),
        _ => all.join(","),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_show_their_first_three() {
        let object =
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}, {"port": 443}]}]});
        assert_eq!(shown(&object), "10.0.0.1:80,10.0.0.2:80,10.0.0.1:443 + 1 more...");
        assert_eq!(shown(&json!({"subsets": []})), "<none>");
    }

    #[test]
    fn every_wrong_field_is_named() {
        let object = json!({"subsets": [{}, {"addresses": [{"ip": "127.0.0.1"}, {"ip": "x"}], "ports": [
            {"port": 0, "protocol": "TCP"}, {"name": "a", "port": 1, "protocol": "X"}]}]});
        let fields: Vec<String> = Endpoints.validate(&object).into_iter().map(|cause| cause.field).collect();
        assert_eq!(
            fields,
            [
                "subsets[0]",
                "subsets[1].addresses[0].ip",
                "subsets[1].addresses[1].ip",
                "subsets[1].ports[0].name",
                "subsets[1].ports[0].port",
                "subsets[1].ports[1].protocol"
            ]
        );
    }
}
