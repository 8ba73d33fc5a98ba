//! A network of service addresses.

use std::net::Ipv4Addr;
use std::str::FromStr;

use super::by_hand;

/// A network of service addresses, such as `10.96.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRange {
    network: u32,
    prefix: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no network of IPv4 addresses such as 10.96.0.0/16, with a prefix of 8 to 30 bits")]
pub struct RangeError {
    text: String,
}

impl Default for ServiceRange {
    fn default() -> Self {
        Self { network: u32::from(Ipv4Addr::new(10, 96, 0, 0)), prefix: 16 }
    }
}

impl FromStr for ServiceRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let (address, prefix) = (address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?);
            Self::new(address, prefix)
        });
        parsed.ok_or_else(|| RangeError { text: text.to_owned() })
    }
}

impl std::fmt::Display for ServiceRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.prefix)
    }
}

impl ServiceRange {
    /// `None` with host bits, or a prefix that is not of 8 to 30 bits.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Option<Self> {
        let range = Self { network: u32::from(network), prefix };
        ((8..=30).contains(&prefix) && range.network.is_multiple_of(range.size())).then_some(range)
    }

    /// Whether some address is in both, those of network and broadcast among them.
    pub fn overlaps(self, other: Self) -> bool {
        let last = |range: Self| range.network.saturating_add(range.size() - 1);
        self.network <= last(other) && other.network <= last(self)
    }

    fn size(self) -> u32 {
        1 << (32 - u32::from(self.prefix))
    }

    /// The address of the service `kubernetes`, where this is the cluster's own range.
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 1)
    }

    /// The address with this number, that of the service `kubernetes` being the first; `None` beyond the last.
    pub fn nth(self, number: u32) -> Option<Ipv4Addr> {
        (1..self.size() - 1).contains(&number).then(|| Ipv4Addr::from(self.network + number))
    }

    /// Neither the network itself nor its broadcast address is for services.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(self.network);
        (1..self.size() - 1).contains(&offset)
    }

    /// Every address once, from one that `seed` picks on; those that people pick by hand come last.
    pub fn candidates(self, seed: u64) -> impl Iterator<Item = Ipv4Addr> {
        let end = self.size() - 1;
        let dynamic = by_hand(self.size(), 16, 256).max(1);
        let start = u32::try_from(seed % u64::from(end - dynamic)).unwrap_or(0);
        let offsets = (dynamic + start..end).chain(dynamic..dynamic + start).chain(1..dynamic);
        offsets.map(move |offset| Ipv4Addr::from(self.network + offset))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_address_is_a_candidate_once_and_those_picked_by_hand_come_last() {
        for (text, last) in [("10.0.0.0/30", 1), ("10.0.0.0/28", 1), ("10.1.2.0/24", 15), ("10.96.0.0/16", 255)] {
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
        assert!(!ServiceRange::default().contains(Ipv4Addr::new(10, 97, 0, 1)));
        assert!(!ServiceRange::default().contains(Ipv4Addr::new(10, 96, 0, 0)));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "10.96.0.0", "10.96.0.1/16", "10.96.0.0/31", "0.0.0.0/0", "10.96.0.0/99", "fd00::/112"] {
            assert!(text.parse::<ServiceRange>().is_err(), "{text}");
        }
    }
}
