//! Which pod has which port of the machine. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::{Family, HostPort, NetworkError, Protocol};

/// The machine's address (`None` is every one) and the pod that has the port there.
type Claim = (Option<IpAddr>, String);

#[derive(Debug, Default)]
pub(crate) struct HostPorts {
    claims: BTreeMap<(Protocol, u16), Vec<Claim>>,
}

/// The machine's address that a port is bound to; `None` for all of them.
pub(crate) fn host_address(port: &HostPort) -> Option<IpAddr> {
    port.host_ip.filter(|ip| !ip.is_unspecified())
}

/// # Errors
/// When a port is bound to an address of a family that the pod has none of: it would lead nowhere.
pub(crate) fn check_families(ports: &[HostPort], addresses: &[IpAddr]) -> Result<(), NetworkError> {
    let is_lost = |ip: &IpAddr| !addresses.iter().any(|address| address.is_ipv4() == ip.is_ipv4());
    let lost = ports.iter().find_map(|port| Some((port.host_port, host_address(port).filter(is_lost)?)));
    lost.map_or(Ok(()), |(port, ip)| {
        let family = Family::of(ip).name();
        Err(NetworkError::Config { message: format!("hostPort {port} on {ip}: pods of this node have no {family} addresses") })
    })
}

impl HostPorts {
    /// Takes all of the ports or none.
    pub(crate) fn claim(&mut self, uid: &str, ports: &[HostPort]) -> Result<(), NetworkError> {
        for port in ports {
            let ip = host_address(port);
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
            let ip = host_address(port);
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
