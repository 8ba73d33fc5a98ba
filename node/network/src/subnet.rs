//! Ranges of addresses, of either family.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::family::{number, numbered};
use crate::{Family, NetworkError};

/// A range in CIDR notation, its host bits zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The range of this prefix length (at most all bits) that holds `address`.
    pub fn containing(address: IpAddr, prefix: u8) -> Self {
        let family = Family::of(address);
        let prefix = prefix.min(family.bits());
        Self { network: numbered(family, number(address) & !hosts(family, prefix)), prefix }
    }

    pub fn network(self) -> IpAddr {
        self.network
    }

    pub fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn family(self) -> Family {
        Family::of(self.network)
    }

    /// The address with this number, the network's own being 0.
    pub fn nth(self, offset: u128) -> IpAddr {
        numbered(self.family(), number(self.network).saturating_add(offset))
    }

    /// Which number an address of it has.
    pub fn offset(self, address: IpAddr) -> u128 {
        number(address) & hosts(self.family(), self.prefix)
    }

    /// The first address, which the node's bridge has.
    pub fn gateway(self) -> IpAddr {
        self.nth(1)
    }

    pub fn last(self) -> IpAddr {
        self.nth(hosts(self.family(), self.prefix))
    }

    pub fn contains(self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && Self::containing(address, self.prefix) == self
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// Cuts it into ranges of this prefix length, and answers the one with this number; the last one is followed by the first.
    pub fn part(self, prefix: u8, index: u128) -> Self {
        let (shift, parts) =
            (self.family().bits().saturating_sub(prefix), hosts(Family::V6, 128 - prefix.saturating_sub(self.prefix)));
        Self::containing(self.nth((index & parts).checked_shl(shift.into()).unwrap_or(0)), prefix)
    }

    /// The addresses pods can have: neither network, gateway nor broadcast.
    pub fn pod_addresses(self) -> impl Iterator<Item = IpAddr> {
        let family = self.family();
        (number(self.gateway()).saturating_add(1)..number(self.last())).map(move |address| numbered(family, address))
    }
}

/// The bits that count addresses of a range.
fn hosts(family: Family, prefix: u8) -> u128 {
    let bits = u32::from(family.bits().saturating_sub(prefix));
    1_u128.checked_shl(bits).unwrap_or(0).wrapping_sub(1)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = |why: &str| NetworkError::Config { message: format!("{text:?} is no range of addresses: {why}") };
        let (address, prefix) = text.split_once('/').ok_or_else(|| wrong("it has no prefix length"))?;
        let address: IpAddr = address.parse().map_err(|_| wrong("its address is neither dotted decimal nor IPv6"))?;
        let bits = Family::of(address).bits();
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= bits);
        let prefix: u8 = prefix.ok_or_else(|| wrong(&format!("its prefix length is not 0 to {bits}")))?;
        let subnet = Self::containing(address, prefix);
        if subnet.network != address {
            return Err(wrong("it has host bits set"));
        }
        Ok(subnet)
    }
}

impl TryFrom<String> for Subnet {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_24_has_253_pod_addresses_after_the_gateway() {
        let subnet = of("10.64.3.0/24");
        let all: Vec<_> = subnet.pod_addresses().collect();
        assert_eq!(all.len(), 253);
        assert_eq!((all[0], all[252]), (ip("10.64.3.2"), ip("10.64.3.254")));
        assert_eq!(subnet.gateway(), ip("10.64.3.1"));
        assert_eq!(of("fd00::/64").pod_addresses().next(), Some(ip("fd00::2")));
    }

    #[test]
    fn an_address_has_the_same_number_in_ranges_of_both_families() {
        let (four, six) = (of("10.64.3.0/24"), of("fd00:0:0:7::/64"));
        assert_eq!(six.nth(four.offset(ip("10.64.3.12"))), ip("fd00:0:0:7::c"));
        assert_eq!(
            (six.last(), of("::/0").last()),
            (ip("fd00::7:ffff:ffff:ffff:ffff"), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
        );
    }

    #[test]
    fn ranges_that_share_an_address_overlap_and_others_do_not() {
        assert!(of("10.64.0.0/10").overlaps(of("10.64.3.0/24")));
        assert!(of("10.64.3.0/24").overlaps(of("0.0.0.0/0")));
        assert!(!of("10.64.3.0/24").overlaps(of("10.64.4.0/24")));
        assert!(!of("0.0.0.0/0").overlaps(of("::/0")), "families have nothing in common");
        assert!(of("fd00::/48").overlaps(of("fd00:0:0:9::/64")) && !of("fd00::/64").contains(ip("fd00:0:0:1::1")));
    }

    #[test]
    fn a_range_is_cut_into_parts_by_number() {
        assert_eq!(of("10.64.0.0/11").part(24, 3), of("10.64.3.0/24"));
        assert_eq!(of("10.64.0.0/11").part(24, (1 << 13) + 1), of("10.64.1.0/24"), "after the last comes the first");
        assert_eq!(of("fd00:1:2::/48").part(64, 0xffff), of("fd00:1:2:ffff::/64"));
    }

    #[test]
    fn text_that_is_no_range_is_refused_with_the_reason() {
        for (text, why) in [
            ("10.0.0.0", "prefix length"),
            ("10.0.0.1/24", "host bits"),
            ("10.0.0.0/33", "0 to 32"),
            ("x/8", "dotted"),
            ("fd00::/129", "0 to 128"),
            ("fd00::1/64", "host bits"),
        ] {
            assert!(text.parse::<Subnet>().unwrap_err().to_string().contains(why), "{text}");
        }
    }
}
