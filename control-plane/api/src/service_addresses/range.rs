//! A network of addresses, of services or of a node's pods.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use super::by_hand;

/// A network of addresses, such as `10.96.0.0/16` or `fd00:0:0:ffff::/112`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRange {
    network: IpAddr,
    prefix: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no network of addresses such as 10.96.0.0/16, with a prefix of 8 to 30 bits, or fd00::/112, of 8 to 126")]
pub struct RangeError {
    text: String,
}

impl Default for ServiceRange {
    fn default() -> Self {
        Self { network: Ipv4Addr::new(10, 96, 0, 0).into(), prefix: 16 }
    }
}

impl FromStr for ServiceRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| Self::new(address.parse().ok()?, prefix.parse().ok()?));
        parsed.ok_or_else(|| RangeError { text: text.to_owned() })
    }
}

impl std::fmt::Display for ServiceRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl ServiceRange {
    /// `None` with host bits, or a prefix that leaves fewer than 2 bits, or has fewer than 8.
    pub fn new(network: IpAddr, prefix: u8) -> Option<Self> {
        let range = Self { network, prefix };
        let most = if network.is_ipv4() { 30 } else { 126 };
        ((8..=most).contains(&prefix) && number(network) & range.hosts() == 0).then_some(range)
    }

    pub fn is_ipv6(self) -> bool {
        self.network.is_ipv6()
    }

    /// Whether some address is in both, those of network and broadcast among them.
    pub fn overlaps(self, other: Self) -> bool {
        let (one, two) = (number(self.network), number(other.network));
        self.is_ipv6() == other.is_ipv6() && one <= two | other.hosts() && two <= one | self.hosts()
    }

    /// The bits that count addresses, which the last one has all set.
    fn hosts(self) -> u128 {
        let bits = if self.is_ipv6() { 128 } else { 32 };
        (1 << (bits - u32::from(self.prefix))) - 1
    }

    /// As many addresses as are counted here; nobody has more services.
    fn size(self) -> u32 {
        const MOST: u32 = 1 << 31;
        u32::try_from(self.hosts()).map_or(MOST, |last| last.saturating_add(1).min(MOST))
    }

    fn at(self, offset: u128) -> IpAddr {
        match self.network {
            IpAddr::V4(network) => IpAddr::V4((u32::from(network) | u32::try_from(offset).unwrap_or(0)).into()),
            IpAddr::V6(network) => IpAddr::V6((u128::from(network) | offset).into()),
        }
    }

    /// The address of the service `kubernetes`, where this is the cluster's own range.
    pub fn first(self) -> IpAddr {
        self.at(1)
    }

    /// The address with this number, that of the service `kubernetes` being the first; `None` beyond the last.
    pub fn nth(self, number: u32) -> Option<IpAddr> {
        (1..self.size() - 1).contains(&number).then(|| self.at(number.into()))
    }

    /// Neither the network itself nor its broadcast address is for services.
    pub fn contains(self, address: IpAddr) -> bool {
        let offset = number(address) ^ number(self.network);
        address.is_ipv6() == self.is_ipv6() && (1..self.hosts()).contains(&offset)
    }

    /// The part of this prefix length with this number; `None` beyond the last.
    pub fn part(self, prefix: u8, index: u32) -> Option<Self> {
        let bits: u8 = if self.is_ipv6() { 128 } else { 32 };
        let offset = u128::from(index).checked_shl(u32::from(bits.checked_sub(prefix)?))?;
        (offset <= self.hosts() && prefix >= self.prefix).then(|| Self::new(self.at(offset), prefix)).flatten()
    }

    /// Every address once, from one that `seed` picks on; those that people pick by hand come last.
    pub fn candidates(self, seed: u64) -> impl Iterator<Item = IpAddr> {
        let end = self.size() - 1;
        let dynamic = by_hand(self.size(), 16, 256).max(1);
        let start = u32::try_from(seed % u64::from(end - dynamic)).unwrap_or(0);
        let offsets = (dynamic + start..end).chain(dynamic..dynamic + start).chain(1..dynamic);
        offsets.map(move |offset| self.at(offset.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_address_is_a_candidate_once_and_those_picked_by_hand_come_last() {
        for (text, last) in
            [("10.0.0.0/30", 1), ("10.0.0.0/28", 1), ("10.1.2.0/24", 15), ("10.96.0.0/16", 255), ("fd00::/112", 255)]
        {
            let range: ServiceRange = text.parse().expect("parses");
            let all: Vec<_> = range.candidates(123_456_789).collect();
            assert_eq!(all.len(), usize::try_from(range.size() - 2).expect("small"), "{text}");
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            assert!(all.iter().all(|address| range.contains(*address)));
            let by_hand: Vec<_> = range.candidates(7).skip(all.len() - last).collect();
            if all.len() > 14 {
                assert_eq!((by_hand[0], by_hand.len()), (range.first(), last), "{text}");
            }
            assert_eq!(range.to_string(), text);
        }
        assert!(!ServiceRange::default().contains([10, 97, 0, 1].into()));
        assert!(!ServiceRange::default().contains([10, 96, 0, 0].into()));
    }

    #[test]
    fn ranges_of_ipv6_are_as_large_as_they_like() {
        let range: ServiceRange = "fd00:0:0:7::/64".parse().expect("parses");
        assert!(range.candidates(u64::MAX).take(1000).all(|address| range.contains(address)));
        assert_eq!(range.nth(10), "fd00:0:0:7::a".parse().ok());
        assert!(!range.contains("fd00:0:0:8::1".parse().expect("an address")) && !range.contains([0, 0, 0, 7].into()));
        let all: ServiceRange = "fd00::/48".parse().expect("parses");
        assert!(all.overlaps(range) && !all.overlaps(ServiceRange::default()));
        assert_eq!((all.part(64, 7), all.part(64, 1 << 16)), (Some(range), None));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in
            ["", "10.96.0.0", "10.96.0.1/16", "10.96.0.0/31", "0.0.0.0/0", "10.96.0.0/99", "fd00::/127", "fd00::1/112", "::/0"]
        {
            assert!(text.parse::<ServiceRange>().is_err(), "{text}");
        }
    }
}
