//! The node ports of a cluster.

use std::str::FromStr;

use super::by_hand;

/// Ports of the nodes that services may have, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no range of ports such as 30000-32767")]
pub struct PortRangeError {
    text: String,
}

impl Default for PortRange {
    fn default() -> Self {
        Self { first: 30000, last: 32767 }
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<Self, PortRangeError> {
        let parsed = text.split_once('-').and_then(|(first, last)| {
            let range = Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
            (range.first > 0 && range.first <= range.last).then_some(range)
        });
        parsed.ok_or_else(|| PortRangeError { text: text.to_owned() })
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl PortRange {
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Every port once, from one that `seed` picks on; those that people pick by hand come last.
    pub fn candidates(self, seed: u64) -> impl Iterator<Item = u16> {
        let size = u32::from(self.last - self.first) + 1;
        let dynamic = by_hand(size, 32, 128);
        let start = u32::try_from(seed % u64::from(size - dynamic)).unwrap_or(0);
        let offsets = (dynamic + start..size).chain(dynamic..dynamic + start).chain(0..dynamic);
        offsets.filter_map(move |offset| self.first.checked_add(u16::try_from(offset).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_port_is_a_candidate_once_and_those_picked_by_hand_come_last() {
        for (text, count) in [("30000-32767", 2768), ("40000-40000", 1), ("1-65535", 65535), ("30000-30009", 10)] {
            let range: PortRange = text.parse().expect("parses");
            let all: BTreeSet<_> = range.candidates(u64::MAX - 3).collect();
            assert_eq!((all.len(), range.candidates(5).count()), (count, count), "{text}");
            assert!(all.iter().all(|port| range.contains(*port)));
        }
        assert!(PortRange::default().candidates(1).take(2768 - 86).all(|port| port >= 30086));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "30000", "0-10", "10-9", "1-70000", "a-b"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }
}
