//! IPv4 ranges.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::NetworkError;

/// A range in CIDR notation, its host bits zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ipv4Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

impl Ipv4Subnet {
    /// The range of this prefix length (at most 32) that holds `address`.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { network: Ipv4Addr::from(u32::from(address) & mask(prefix)), prefix }
    }

    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address, which the node's bridge has.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network).saturating_add(1))
    }

    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) | !mask(self.prefix))
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == u32::from(self.network)
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// The addresses pods can have: neither network, gateway nor broadcast.
    pub fn pod_addresses(self) -> impl Iterator<Item = Ipv4Addr> {
        (u32::from(self.gateway()).saturating_add(1)..u32::from(self.broadcast())).map(Ipv4Addr::from)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

impl fmt::Display for Ipv4Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Ipv4Subnet {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = |why: &str| NetworkError::Config { message: format!("{text:?} is no IPv4 range: {why}") };
        let (address, prefix) = text.split_once('/').ok_or_else(|| wrong("it has no prefix length"))?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong("its address is not dotted decimal"))?;
        let prefix: u8 = prefix.parse().ok().filter(|p| *p <= 32).ok_or_else(|| wrong("its prefix length is not 0 to 32"))?;
        let subnet = Self::containing(address, prefix);
        if subnet.network != address {
            return Err(wrong("it has host bits set"));
        }
        Ok(subnet)
    }
}

impl TryFrom<String> for Ipv4Subnet {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Ipv4Subnet> for String {
    fn from(subnet: Ipv4Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_24_has_253_pod_addresses_after_the_gateway() {
        let subnet: Ipv4Subnet = "10.64.3.0/24".parse().unwrap();
        let all: Vec<_> = subnet.pod_addresses().collect();
        assert_eq!(all.len(), 253);
        assert_eq!((all[0], all[252]), (Ipv4Addr::new(10, 64, 3, 2), Ipv4Addr::new(10, 64, 3, 254)));
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 64, 3, 1));
    }

    #[test]
    fn ranges_that_share_an_address_overlap_and_others_do_not() {
        let of = |s: &str| s.parse::<Ipv4Subnet>().unwrap();
        assert!(of("10.64.0.0/10").overlaps(of("10.64.3.0/24")));
        assert!(of("10.64.3.0/24").overlaps(of("0.0.0.0/0")));
        assert!(!of("10.64.3.0/24").overlaps(of("10.64.4.0/24")));
    }

    #[test]
    fn text_that_is_no_range_is_refused_with_the_reason() {
        for (text, why) in
            [("10.0.0.0", "prefix length"), ("10.0.0.1/24", "host bits"), ("10.0.0.0/33", "0 to 32"), ("x/8", "dotted")]
        {
            assert!(text.parse::<Ipv4Subnet>().unwrap_err().to_string().contains(why), "{text}");
        }
    }
}
