//! What a proxy's path names, and where that is reached.

use std::net::{IpAddr, Ipv6Addr};

use mizzen_api::{Reason, Status};
use serde_json::Value;

/// `name`, `name:port` or `scheme:name:port`; the scheme may be left empty, the port be a number or a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id<'a> {
    pub(super) https: bool,
    pub(super) name: &'a str,
    /// Empty for the one that goes without saying.
    pub(super) port: &'a str,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// `HOST:PORT`.
    pub(crate) authority: String,
    pub(crate) https: bool,
    /// On which node it is, if that is known.
    pub(crate) node: String,
}

/// # Errors
/// `BadRequest` for what is none; `kind` names it in the message.
pub(super) fn parse<'a>(kind: &str, id: &'a str) -> Result<Id<'a>, Status> {
    let wrong = || Status::bad_request(format!("invalid {kind} request {id:?}"));
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return Err(wrong()),
    };
    let https = match scheme {
        "" | "http" => false,
        "https" => true,
        _ => return Err(wrong()),
    };
    if name.is_empty() { Err(wrong()) } else { Ok(Id { https, name, port }) }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// # Errors
/// `BadRequest` for addresses of the server's own machine, or none at all.
pub(crate) fn authority(address: &str, port: &str, https: bool) -> Result<String, Status> {
    let refused = || Status::bad_request("address not allowed");
    let ip: IpAddr = address.parse().map_err(|_| refused())?;
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback() || v4.is_link_local())
        }
    };
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local {
        return Err(refused());
    }
    let port = match port {
        "" if https => "443",
        "" => "80",
        port if port.parse::<u16>().is_ok_and(|port| port != 0) => port,
        other => return Err(Status::bad_request(format!("invalid port {other:?}"))),
    };
    Ok(match address.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{address}]:{port}"),
        Err(_) => format!("{address}:{port}"),
    })
}

/// A pod at the port that is asked for, or the first that its containers name.
///
/// # Errors
/// `BadRequest` when it has no address yet, or one that may not be used.
pub(super) fn of_pod(pod: &Value, id: Id<'_>) -> Result<Upstream, Status> {
    let first = || {
        let ports = list(pod, "/spec/containers").iter().flat_map(|container| list(container, "/ports"));
        ports.filter_map(|port| port.get("containerPort")?.as_u64()).next().map(|port| port.to_string()).unwrap_or_default()
    };
    let port = if id.port.is_empty() { first() } else { id.port.to_owned() };
    let node = text(pod, "/spec/nodeName").to_owned();
    Ok(Upstream { authority: authority(text(pod, "/status/podIP"), &port, id.https)?, https: id.https, node })
}

/// One of a service's endpoints; `pick` chooses one of so many.
///
/// # Errors
/// `ServiceUnavailable` when there is none, or no such port.
pub(super) fn of_service(
    service: &Value,
    endpoints: Option<&Value>,
    id: Id<'_>,
    pick: impl Fn(usize) -> usize,
) -> Result<Upstream, Status> {
    let unavailable = |why: String| Status::new(Reason::ServiceUnavailable, why);
    // Endpoints know their ports by name only.
    let name = match id.port.parse::<u64>() {
        Err(_) => id.port,
        Ok(number) => {
            let found = list(service, "/spec/ports").iter().find(|port| port["port"].as_u64() == Some(number));
            let none = || unavailable(format!("no service port {number} found for service {:?}", id.name));
            found.map(|port| text(port, "/name")).ok_or_else(none)?
        }
    };
    let subsets = endpoints.map_or(&[][..], |endpoints| list(endpoints, "/subsets"));
    let usable: Vec<(&str, &str, u64)> = subsets
        .iter()
        .flat_map(|subset| {
            let ports = list(subset, "/ports").iter().filter(|port| text(port, "/name") == name);
            let port = ports.filter_map(|port| port.get("port")?.as_u64()).next();
            list(subset, "/addresses")
                .iter()
                .filter_map(move |address| Some((text(address, "/ip"), text(address, "/nodeName"), port?)))
        })
        .collect();
    if usable.is_empty() {
        return Err(unavailable(format!("no endpoints available for service {:?}", id.name)));
    }
    let (address, node, port) = usable[pick(usable.len()) % usable.len()];
    Ok(Upstream { authority: authority(address, &port.to_string(), id.https)?, https: id.https, node: node.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_may_have_a_port_and_a_scheme() {
        assert_eq!(parse("pod", "a"), Ok(Id { https: false, name: "a", port: "" }));
        assert_eq!(parse("pod", "a:80"), Ok(Id { https: false, name: "a", port: "80" }));
        assert_eq!(parse("service", "https:a:web"), Ok(Id { https: true, name: "a", port: "web" }));
        assert_eq!(parse("service", ":a:"), Ok(Id { https: false, name: "a", port: "" }));
        for wrong in ["", "ftp:a:1", "a:b:c:d", ":"] {
            let status = parse("pod", wrong).expect_err("is none");
            assert_eq!((status.code, status.message), (400, format!("invalid pod request {wrong:?}")));
        }
    }

    #[test]
    fn a_pod_is_reached_at_its_first_port_but_never_on_the_servers_own_machine() {
        let pod = |ip: &str| json!({"status": {"podIP": ip}, "spec": {"containers": [{}, {"ports": [{"containerPort": 8080}]}]}});
        let at = |ip: &str, id: &str| {
            of_pod(&pod(ip), parse("pod", id).expect("parses"))
                .map(|upstream| upstream.authority)
                .map_err(|status| status.message)
        };
        assert_eq!(at("10.0.0.1", "p"), Ok("10.0.0.1:8080".to_owned()));
        assert_eq!(at("fd00::1", "https:p:"), Ok("[fd00::1]:8080".to_owned()));
        assert_eq!(at("10.0.0.1", "p:81"), Ok("10.0.0.1:81".to_owned()));
        for own in ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "", "::ffff:127.0.0.1", "224.0.0.1"] {
            assert_eq!(at(own, "p"), Err("address not allowed".to_owned()), "{own}");
        }
    }

    #[test]
    fn a_service_is_reached_at_one_of_its_endpoints_by_the_name_of_the_port() {
        let service = json!({"spec": {"ports": [{"name": "web", "port": 80}, {"name": "tls", "port": 443}]}});
        let ports = json!([{"name": "web", "port": 8080}, {"name": "tls", "port": 8443}]);
        let endpoints = json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": ports},
            {"notReadyAddresses": [{"ip": "10.0.0.3"}], "ports": ports}]});
        let at = |id: &str, pick: usize| {
            let found = of_service(&service, Some(&endpoints), parse("service", id).expect("parses"), |_| pick);
            found.map(|upstream| upstream.authority).map_err(|status| (status.code, status.message))
        };
        assert_eq!(at("s:web", 0), Ok("10.0.0.1:8080".to_owned()));
        assert_eq!(at("https:s:443", 1), Ok("10.0.0.2:8443".to_owned()));
        assert_eq!(at("s", 0), Err((503, "no endpoints available for service \"s\"".to_owned())));
        assert_eq!(at("s:81", 0), Err((503, "no service port 81 found for service \"s\"".to_owned())));
    }
}
