//! `Ingress`.

use serde_json::{Value, json};

use super::super::builder::{Describe, resource};
use super::super::value::{absent, int, list, set, text};
use super::GROUP;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::{age, or_none};
use crate::status::Cause;
use crate::validate::{
    Path, complaints, dns1123_label, dns1123_subdomain, invalid, invalid_text, ip_address, not_supported, path_segment,
    port_name, port_number, required, wildcard_subdomain,
};

struct Ingress;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "Ingress", "ingresses", Scope::Namespaced, Ingress).short("ing").status()
}

const COLUMNS: &[Column] = &[
    Column::text("Class", "The class whose controller serves it."),
    Column::text("Hosts", "The hosts that requests are matched by."),
    Column::text("Address", "The addresses of the load balancer."),
    Column::text("Ports", "The ports that are open."),
    Column::AGE,
];

/// The older way to name a class.
const CLASS_ANNOTATION: &str = "/metadata/annotations/kubernetes.io~1ingress.class";

impl Strategy for Ingress {
    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"loadBalancer": {}}));
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let spec = Path::root("spec");
        if list(object, "/spec/rules").is_empty() && absent(object, "/spec/defaultBackend") {
            let why = "either `defaultBackend` or `rules` must be specified";
            causes.push(invalid(spec, &Value::Null, why));
        }
        if let Some(backend) = object.pointer("/spec/defaultBackend").filter(|backend| backend.is_object()) {
            check_backend(backend, &spec.field("defaultBackend"), &mut causes);
        }
        let rules = spec.field("rules");
        for (index, rule) in list(object, "/spec/rules").iter().enumerate() {
            check_rule(rule, &rules.index(index), &mut causes);
        }
        let tls = spec.field("tls");
        for (index, entry) in list(object, "/spec/tls").iter().enumerate() {
            let hosts = tls.index(index);
            let hosts = hosts.field("hosts");
            for (index, host) in list(entry, "/hosts").iter().enumerate() {
                check_host(host.as_str().unwrap_or(""), &hosts.index(index), &mut causes);
            }
        }
        let class = text(object, "/spec/ingressClassName");
        if !absent(object, "/spec/ingressClassName") {
            causes.extend(complaints(spec.field("ingressClassName"), class, dns1123_subdomain(class)));
        }
        causes
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let points = Path::root("status.loadBalancer.ingress");
        for (index, point) in list(object, "/status/loadBalancer/ingress").iter().enumerate() {
            let (at, ip, host) = (points.index(index), text(point, "/ip"), text(point, "/hostname"));
            if !ip.is_empty() {
                causes.extend(complaints(at.field("ip"), ip, ip_address(ip)));
            }
            if !host.is_empty() {
                causes.extend(complaints(at.field("hostname"), host, dns1123_subdomain(host)));
                if host.parse::<std::net::IpAddr>().is_ok() {
                    causes.push(invalid_text(at.field("hostname"), host, "must be a DNS name, not an IP address"));
                }
            }
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let class = match text(object, "/spec/ingressClassName") {
            "" => text(object, CLASS_ANNOTATION),
            class => class,
        };
        let addresses: Vec<&str> = list(object, "/status/loadBalancer/ingress")
            .iter()
            .map(|point| if text(point, "/ip").is_empty() { text(point, "/hostname") } else { text(point, "/ip") })
            .collect();
        let ports = if list(object, "/spec/tls").is_empty() { "80" } else { "80, 443" };
        let cells = [or_none(class).to_owned(), hosts(object), addresses.join(","), ports.to_owned(), age(object, context.now)];
        cells.into_iter().map(Value::String).collect()
    }
}

fn hosts(object: &Value) -> String {
    let named = list(object, "/spec/rules").iter().map(|rule| text(rule, "/host")).filter(|host| !host.is_empty());
    let all: Vec<&str> = named.collect();
    match all.len() {
        0 => "*".to_owned(),
        count if count > 3 => format!("{} + {} more...", all[..3].join(","), count - 3),
        _ => all.join(","),
    }
}

fn check_host(host: &str, at: &Path, causes: &mut Vec<Cause>) {
    let wrong = if host.contains('*') { wildcard_subdomain(host) } else { dns1123_subdomain(host) };
    causes.extend(complaints(at, host, wrong));
}

fn check_rule(rule: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let host = text(rule, "/host");
    if !host.is_empty() {
        if host.parse::<std::net::IpAddr>().is_ok() {
            causes.push(invalid_text(at.field("host"), host, "must be a DNS name, not an IP address"));
        } else {
            check_host(host, &at.field("host"), causes);
        }
    }
    let Some(http) = rule.get("http").filter(|http| http.is_object()) else { return };
    let at = at.field("http");
    let paths = at.field("paths");
    if list(http, "/paths").is_empty() {
        causes.push(required(paths, ""));
    }
    for (index, path) in list(http, "/paths").iter().enumerate() {
        let at = paths.index(index);
        check_path(path, &at, causes);
        check_backend(path.get("backend").unwrap_or(&Value::Null), &at.field("backend"), causes);
    }
}

/// Parts of a path that could mean another one.
const SUSPICIOUS: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
const SUSPICIOUS_ENDS: &[&str] = &["/..", "/."];

fn check_path(path: &Value, at: &Path, causes: &mut Vec<Cause>) {
    const TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
    let (value, place) = (text(path, "/path"), at.field("path"));
    match text(path, "/pathType") {
        "" => causes.push(required(at.field("pathType"), "pathType must be specified")),
        "Exact" | "Prefix" => {
            if !value.starts_with('/') {
                causes.push(invalid_text(place, value, "must be an absolute path"));
            }
            for bad in SUSPICIOUS.iter().filter(|bad| value.contains(**bad)) {
                causes.push(invalid_text(place, value, format!("must not contain '{bad}'")));
            }
            for bad in SUSPICIOUS_ENDS.iter().filter(|bad| value.ends_with(**bad)) {
                causes.push(invalid_text(place, value, format!("cannot end with '{bad}'")));
            }
        }
        "ImplementationSpecific" if !value.is_empty() && !value.starts_with('/') => {
            causes.push(invalid_text(place, value, "must be an absolute path"));
        }
        "ImplementationSpecific" => {}
        other => causes.push(not_supported(at.field("pathType"), other, TYPES)),
    }
}

fn check_backend(backend: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let (service, resource) = (!absent(backend, "/service"), !absent(backend, "/resource"));
    match (service, resource) {
        (true, true) => causes.push(invalid(at, &"".into(), "cannot set both resource and service backends")),
        (false, false) => causes.push(invalid(at, &"".into(), "resource or service backend is required")),
        (false, true) => {
            let at = at.field("resource");
            for field in ["kind", "name"] {
                match text(backend, &format!("/resource/{field}")) {
                    "" => causes.push(required(at.field(field), "")),
                    name => causes.extend(complaints(at.field(field), name, path_segment(name))),
                }
            }
        }
        (true, false) => {
            let service = at.field("service");
            match text(backend, "/service/name") {
                "" => causes.push(required(service.field("name"), "")),
                name => causes.extend(complaints(service.field("name"), name, dns1123_label(name))),
            }
            let port = service.field("port");
            let (name, number) = (text(backend, "/service/port/name"), int(backend, "/service/port/number").unwrap_or(0));
            match (name, number) {
                ("", 0) => causes.push(required(at, "port name or number is required")),
                ("", number) => {
                    causes.extend(port_number(number).into_iter().map(|why| invalid(port.field("number"), &number.into(), why)));
                }
                (name, 0) => causes.extend(complaints(port.field("name"), name, port_name(name))),
                _ => causes.push(invalid(at, &"".into(), "cannot set both port name & port number")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingress(path: Value) -> Value {
        json!({"spec": {"rules": [{"host": "*.example.com", "http": {"paths": [path]}}]}})
    }

    fn backend() -> Value {
        json!({"service": {"name": "web", "port": {"number": 80}}})
    }

    #[test]
    fn an_ingress_shows_its_hosts_and_ports() {
        let mut object = ingress(json!({"path": "/", "pathType": "Prefix", "backend": backend()}));
        assert_eq!(Ingress.validate(&object), []);
        object["spec"]["tls"] = json!([{"hosts": ["a.example.com"]}]);
        object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"hostname": "lb"}]}});
        let cells = Ingress.cells(&object, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..4], [json!("<none>"), json!("*.example.com"), json!("10.0.0.1,lb"), json!("80, 443")]);
    }

    #[test]
    fn wrong_rules_are_named() {
        let path = "spec.rules[0].http.paths[0]";
        for (object, complaint) in [
            (json!({"spec": {}}), "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified".to_owned()),
            (
                ingress(json!({"path": "/", "backend": backend()})),
                format!("{path}.pathType: Required value: pathType must be specified"),
            ),
            (
                ingress(json!({"path": "a", "pathType": "Exact", "backend": backend()})),
                format!("{path}.path: Invalid value: \"a\": must be an absolute path"),
            ),
            (
                ingress(json!({"path": "/", "pathType": "Exact", "backend": {"service": {"name": "web"}}})),
                format!("{path}.backend: Required value: port name or number is required"),
            ),
        ] {
            let causes = Ingress.validate(&object);
            let found: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
            assert_eq!(found, [complaint]);
        }
    }
}
