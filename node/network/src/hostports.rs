//! Which pod has which port of the machine. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::{HostPort, NetworkError, Protocol};

/// The machine's address (`None` is every one) and the pod that has the port there.
type Claim = (Option<Ipv4Addr>, String);

#[derive(Debug, Default)]
pub(crate) struct HostPorts {
    claims: BTreeMap<(Protocol, u16), Vec<Claim>>,
}

/// The machine's address that a port is bound to. The table is IPv4's: an IPv6 address cannot lead to a pod.
pub(crate) fn host_address(port: &HostPort) -> Result<Option<Ipv4Addr>, NetworkError> {
    match port.host_ip {
        None => Ok(None),
        Some(ip) if ip.is_unspecified() => Ok(None),
        Some(IpAddr::V4(ip)) => Ok(Some(ip)),
        Some(IpAddr::V6(ip)) => {
            Err(NetworkError::Config { message: format!("hostPort {} on {ip}: pods have IPv4 addresses only", port.host_port) })
        }
    }
}

impl HostPorts {
    /// Takes all of the ports or none.
    pub(crate) fn claim(&mut self, uid: &str, ports: &[HostPort]) -> Result<(), NetworkError> {
        for port in ports {
            let ip = host_address(port)?;
            let others = self.claims.get(&(port.protocol, port.host_port)).into_iter().flatten();
            let taken =
                others.filter(|(_, owner)| owner != uid).find(|(other, _)| ip.is_none() || other.is_none() || ip == *other);
            if let Some((_, owner)) = taken {
                return Err(NetworkError::HostPortConflict {
                    port: port.host_port,
                    protocol: port.protocol,
                    owner: owner.clone(),
                });
            }
        }
        self.release(uid);
        for port in ports {
            let ip = host_address(port)?;
            self.claims.entry((port.protocol, port.host_port)).or_default().push((ip, uid.to_owned()));
        }
        Ok(())
    }

    pub(crate) fn release(&mut self, uid: &str) {
        self.claims.retain(|_, owners| {
            owners.retain(|(_, owner)| owner != uid);
            !owners.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: Option<&str>, host_port: u16, protocol: Protocol) -> HostPort {
        HostPort { host_ip: host_ip.map(|ip| ip.parse().unwrap()), host_port, container_port: 80, protocol }
    }

    #[test]
    fn a_taken_port_is_refused_with_its_number_and_owner() {
        let mut ports = HostPorts::default();
        ports.claim("a", &[port(None, 8080, Protocol::Tcp)]).unwrap();
        let error = ports.claim("b", &[port(Some("127.0.0.1"), 8080, Protocol::Tcp)]).unwrap_err().to_string();
        assert_eq!(error, "host port 8080/TCP is already used by pod a");
        ports.claim("b", &[port(None, 8080, Protocol::Udp)]).unwrap();
        ports.claim("a", &[port(None, 8080, Protocol::Tcp)]).unwrap();
        ports.release("a");
        ports.claim("c", &[port(None, 8080, Protocol::Tcp)]).unwrap();
    }

    #[test]
    fn a_port_is_free_on_another_address_and_a_refused_claim_takes_nothing() {
        let mut ports = HostPorts::default();
        ports.claim("a", &[port(Some("10.0.0.1"), 80, Protocol::Tcp)]).unwrap();
        ports.claim("b", &[port(Some("10.0.0.2"), 80, Protocol::Tcp)]).unwrap();
        ports.claim("c", &[port(None, 81, Protocol::Tcp), port(Some("0.0.0.0"), 80, Protocol::Tcp)]).unwrap_err();
        ports.claim("d", &[port(None, 81, Protocol::Tcp)]).unwrap();
    }
}
