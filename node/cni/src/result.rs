//! What plugins answer (specification, section 5), as far as the node uses it. Pure.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    interfaces: Vec<Interface>,
    ips: Vec<Ip>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Interface {
    name: String,
    sandbox: String,
}

#[derive(Deserialize)]
struct Ip {
    address: String,
    interface: Option<usize>,
}

/// The addresses of a pod's interface, in their order; those of the machine's end, or of other interfaces, are not the pod's.
///
/// # Errors
/// When the result is none, or an address in it is not.
pub fn address_of(result: &Value, interface: &str) -> Result<Vec<IpAddr>, String> {
    let answer = Answer::deserialize(result).map_err(|error| error.to_string())?;
    let is_the_pods = |ip: &&Ip| match ip.interface {
        None => true,
        Some(index) => answer.interfaces.get(index).is_some_and(|of| of.name == interface && !of.sandbox.is_empty()),
    };
    let parsed = |ip: &Ip| {
        let (address, _) = ip.address.split_once('/').unwrap_or((&ip.address, ""));
        address.parse().map_err(|_| format!("{:?} is no address", ip.address))
    };
    answer.ips.iter().filter(is_the_pods).map(parsed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_the_addresses_of_its_own_interface() {
        let result = json!({
            "interfaces": [{"name": "cni0"}, {"name": "veth1"}, {"name": "eth0", "sandbox": "/run/ns"}, {"name": "net1", "sandbox": "/run/ns"}],
            "ips": [
                {"address": "10.1.0.1/16", "interface": 0}, {"address": "10.1.0.7/16", "interface": 2},
                {"address": "fd00::7/64", "interface": 2}, {"address": "10.2.0.7/16", "interface": 3},
            ],
        });
        let addresses = |text: &[&str]| Ok(text.iter().map(|text| text.parse().expect("an address")).collect::<Vec<IpAddr>>());
        assert_eq!(address_of(&result, "eth0"), addresses(&["10.1.0.7", "fd00::7"]));
        assert_eq!(address_of(&json!({"ips": [{"address": "10.1.0.7/16", "version": "4"}]}), "eth0"), addresses(&["10.1.0.7"]));
        assert_eq!(address_of(&json!({}), "eth0"), addresses(&[]));
        assert!(address_of(&json!({"ips": [{"address": "here"}]}), "eth0").is_err());
        assert!(address_of(&json!({"ips": "none"}), "eth0").is_err());
    }
}
