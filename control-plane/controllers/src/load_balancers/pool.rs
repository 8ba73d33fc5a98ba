//! The addresses that load balancers get. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Ranges of addresses on the nodes' link that nobody else has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPool {
    ranges: Vec<RangeInclusive<u32>>,
}

/// A range that is none.
#[derive(Debug)]
pub struct PoolError {
    text: String,
}

impl std::fmt::Display for PoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is no address, no range FIRST-LAST and no network of IPv4 addresses", self.text)
    }
}

impl std::error::Error for PoolError {}

impl AddressPool {
    /// # Errors
    /// Names the range that is none.
    pub fn parse(ranges: &[String]) -> Result<Self, PoolError> {
        let parsed = ranges.iter().map(|text| range(text.trim()).ok_or_else(|| PoolError { text: text.clone() }));
        Ok(Self { ranges: parsed.collect::<Result<_, _>>()? })
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(&u32::from(address)))
    }

    /// The one that the service has, or else wishes for, if it may have it, or else the first that is free.
    pub(super) fn allocate(
        &self,
        has: Option<Ipv4Addr>,
        wished: Option<Ipv4Addr>,
        taken: &BTreeSet<Ipv4Addr>,
    ) -> Result<Ipv4Addr, Refusal> {
        let is_free = |address: &Ipv4Addr| self.contains(*address) && !taken.contains(address);
        if let Some(wished) = wished {
            return if is_free(&wished) { Ok(wished) } else { Err(Refusal::Wish(wished)) };
        }
        let all = self.ranges.iter().cloned().flatten().map(Ipv4Addr::from);
        has.into_iter().chain(all).find(is_free).ok_or(Refusal::Exhausted)
    }
}

/// Why a service gets no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It asks for one that is not in the pool, or another service has.
    Wish(Ipv4Addr),
    Exhausted,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wish(address) => write!(f, "{address} is not in loadBalancerAddresses, or another service has it"),
            Self::Exhausted => f.write_str("no address of loadBalancerAddresses is free"),
        }
    }
}

/// Networks are whole, their first and last address included: on the nodes' link, those are addresses like others.
fn range(text: &str) -> Option<RangeInclusive<u32>> {
    let address = |text: &str| text.trim().parse::<Ipv4Addr>().ok().map(u32::from);
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (address(first)?, address(last)?);
        return (first <= last).then_some(first..=last);
    }
    let Some((network, prefix)) = text.split_once('/') else {
        let only = address(text)?;
        return Some(only..=only);
    };
    let (network, prefix) = (address(network)?, prefix.parse::<u32>().ok().filter(|prefix| (16..=32).contains(prefix))?);
    let last = network.checked_add((1_u32 << (32 - prefix)) - 1)?;
    network.is_multiple_of(1 << (32 - prefix)).then_some(network..=last)
}

/// Who answers for an address: the same node as long as it may, and all nodes alike for many addresses (rendezvous hashing).
pub(super) fn announcer<'a>(address: Ipv4Addr, nodes: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // FNV-1a and the last step of MurmurHash3, without which the last bytes would hardly count: the same in every release.
    let weight = |node: &str| {
        let bytes = node.bytes().chain([0]).chain(address.octets());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    };
    nodes.max_by_key(|node| (weight(node), *node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(ranges: &[&str]) -> AddressPool {
        AddressPool::parse(&ranges.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("parses")
    }

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, last)
    }

    #[test]
    fn a_service_keeps_its_address_or_gets_what_it_wishes_or_the_first_that_is_free() {
        let pool = pool(&["192.0.2.8/31", "192.0.2.20-192.0.2.21", "192.0.2.30"]);
        let taken = BTreeSet::from([ip(8)]);
        assert_eq!(pool.allocate(None, None, &taken), Ok(ip(9)));
        assert_eq!(pool.allocate(Some(ip(21)), None, &taken), Ok(ip(21)));
        assert_eq!(pool.allocate(Some(ip(99)), None, &taken), Ok(ip(9)), "what it has is in the pool no more");
        assert_eq!(pool.allocate(Some(ip(9)), Some(ip(30)), &taken), Ok(ip(30)));
        assert_eq!(pool.allocate(None, Some(ip(8)), &taken), Err(Refusal::Wish(ip(8))));
        let all = [8, 9, 20, 21, 30].map(ip).into();
        assert_eq!(pool.allocate(None, None, &all), Err(Refusal::Exhausted));
    }

    #[test]
    fn what_is_no_range_is_named() {
        for text in ["192.0.2.9-192.0.2.8", "192.0.2.1/24", "10.0.0.0/8", "fd00::1", ""] {
            let error = AddressPool::parse(&[text.to_owned()]).expect_err("is none").to_string();
            assert!(error.starts_with(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_node_that_goes_moves_only_the_addresses_that_it_answered_for() {
        let nodes = ["a", "b", "c"];
        let before: Vec<_> = (0..60).map(|last| announcer(ip(last), nodes.into_iter())).collect();
        assert!(nodes.iter().all(|node| before.contains(&Some(*node))), "{before:?}");
        for (last, before) in (0..60).zip(before).filter(|(_, before)| *before != Some("c")) {
            assert_eq!(announcer(ip(last), ["a", "b"].into_iter()), before);
        }
        assert_eq!(announcer(ip(1), std::iter::empty()), None);
    }
}
