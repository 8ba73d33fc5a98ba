//! The addresses that load balancers get. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::links::Links;

/// Ranges of addresses on the nodes' link that nobody else has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPool {
    ranges: Vec<Range>,
}

/// First and last, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    last: IpAddr,
}

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl Range {
    fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }

    fn addresses(self) -> impl Iterator<Item = IpAddr> {
        (number(self.first)..=number(self.last)).map(move |address| match self.first {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(address).unwrap_or(u32::MAX).into()),
            IpAddr::V6(_) => IpAddr::V6(address.into()),
        })
    }
}

/// A range that is none.
#[derive(Debug)]
pub struct PoolError {
    text: String,
}

impl std::fmt::Display for PoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is no address, no range FIRST-LAST and no network of addresses", self.text)
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

    fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// Whether it has addresses of a family.
    fn is_of(&self, is_ipv4: bool) -> bool {
        self.ranges.iter().any(|range| range.first.is_ipv4() == is_ipv4)
    }

    /// One of each of the service's families (whether it is IPv4) that the pool has addresses of, at least one: the one that the
    /// service has, or else wishes for, if it may have it, or else the first that is free.
    pub(super) fn allocate(
        &self,
        families: &[bool],
        has: &[IpAddr],
        wished: Option<IpAddr>,
        taken: &BTreeSet<IpAddr>,
    ) -> Result<Vec<IpAddr>, Refusal> {
        let is_free = |address: &IpAddr| self.contains(*address) && !taken.contains(address);
        if let Some(wished) = wished.filter(|wished| !families.contains(&wished.is_ipv4()) || !is_free(wished)) {
            return Err(Refusal::Wish(wished));
        }
        let one = |is_ipv4: &bool| {
            let own = wished.into_iter().chain(has.iter().copied()).filter(|address| address.is_ipv4() == *is_ipv4);
            let all = self.ranges.iter().filter(|range| range.first.is_ipv4() == *is_ipv4).flat_map(|range| range.addresses());
            own.chain(all).find(is_free).ok_or(Refusal::Exhausted)
        };
        let given: Vec<_> = families.iter().filter(|is_ipv4| self.is_of(**is_ipv4)).map(one).collect::<Result<_, _>>()?;
        if given.is_empty() { Err(Refusal::Exhausted) } else { Ok(given) }
    }
}

/// Why a service gets no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It asks for one that is not in the pool, or another service has.
    Wish(IpAddr),
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
fn range(text: &str) -> Option<Range> {
    let address = |text: &str| text.trim().parse::<IpAddr>().ok();
    if let Some((first, last)) = text.split_once('-') {
        return Range::new(address(first)?, address(last)?);
    }
    let Some((network, prefix)) = text.split_once('/') else {
        let only = address(text)?;
        return Range::new(only, only);
    };
    let (network, prefix) = (address(network)?, prefix.parse::<u32>().ok()?);
    // At most as many addresses as a /16 of IPv4 has, or a link of IPv6.
    let (bits, least) = if network.is_ipv4() { (32, 16) } else { (128, 64) };
    let hosts = (1_u128 << (bits - Some(prefix).filter(|prefix| (least..=bits).contains(prefix))?)) - 1;
    if number(network) & hosts != 0 {
        return None;
    }
    let last = match network {
        IpAddr::V4(network) => IpAddr::V4((u32::from(network) | u32::try_from(hosts).ok()?).into()),
        IpAddr::V6(network) => IpAddr::V6((u128::from(network) | hosts).into()),
    };
    Range::new(network, last)
}

/// Who answers for an address: the same node as long as it may, and all nodes alike for many addresses (rendezvous hashing). One
/// that is on its link, or else any, which says that it is not.
pub(super) fn announcer<'a>(address: IpAddr, nodes: &[(&'a str, Links)]) -> Option<&'a str> {
    // FNV-1a and the last step of MurmurHash3, without which the last bytes would hardly count: the same in every release.
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let weight = |node: &str| {
        let bytes = node.bytes().chain([0]).chain(octets.iter().copied());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    };
    let names = |is_near: bool| nodes.iter().filter(move |(_, links)| !is_near || links.may_have(address)).map(|(name, _)| *name);
    let heaviest = |is_near| names(is_near).max_by_key(|node| (weight(node), *node));
    heaviest(true).or_else(|| heaviest(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(ranges: &[&str]) -> AddressPool {
        AddressPool::parse(&ranges.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("parses")
    }

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_service_keeps_its_address_or_gets_what_it_wishes_or_the_first_that_is_free() {
        let pool = pool(&["192.0.2.8/31", "192.0.2.20-192.0.2.21", "192.0.2.30"]);
        let taken = BTreeSet::from([ip(8)]);
        let allocate = |has: Option<u8>, wished: Option<u8>, taken: &BTreeSet<IpAddr>| {
            pool.allocate(&[true], has.map(ip).as_slice(), wished.map(ip), taken).map(|given| given[0])
        };
        assert_eq!(allocate(None, None, &taken), Ok(ip(9)));
        assert_eq!(allocate(Some(21), None, &taken), Ok(ip(21)));
        assert_eq!(allocate(Some(99), None, &taken), Ok(ip(9)), "what it has is in the pool no more");
        assert_eq!(allocate(Some(9), Some(30), &taken), Ok(ip(30)));
        assert_eq!(allocate(None, Some(8), &taken), Err(Refusal::Wish(ip(8))));
        let all = [8, 9, 20, 21, 30].map(ip).into();
        assert_eq!(allocate(None, None, &all), Err(Refusal::Exhausted));
    }

    #[test]
    fn a_service_of_two_families_gets_one_of_each_that_the_pool_has() {
        let both = pool(&["192.0.2.8/31", "fd00::8/126", "fd00:1::/64"]);
        let six: IpAddr = "fd00::8".parse().expect("an address");
        assert_eq!(both.allocate(&[false, true], &[], None, &BTreeSet::new()), Ok(vec![six, ip(8)]));
        assert_eq!(both.allocate(&[true], &[], Some(six), &BTreeSet::new()), Err(Refusal::Wish(six)), "it has no such family");
        let four = pool(&["192.0.2.8/31"]);
        assert_eq!(four.allocate(&[true, false], &[], None, &BTreeSet::new()), Ok(vec![ip(8)]));
        assert_eq!(four.allocate(&[false], &[], None, &BTreeSet::new()), Err(Refusal::Exhausted));
    }

    #[test]
    fn what_is_no_range_is_named() {
        for text in ["192.0.2.9-192.0.2.8", "192.0.2.1/24", "10.0.0.0/8", "fd00::/48", "fd00::1-192.0.2.1", ""] {
            let error = AddressPool::parse(&[text.to_owned()]).expect_err("is none").to_string();
            assert!(error.starts_with(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_node_that_goes_moves_only_the_addresses_that_it_answered_for() {
        let nodes = ["a", "b", "c"];
        let known = nodes.map(|node| (node, Links::Unknown));
        let before: Vec<_> = (0..60).map(|last| announcer(ip(last), &known)).collect();
        assert!(nodes.iter().all(|node| before.contains(&Some(*node))), "{before:?}");
        for (last, before) in (0..60).zip(before).filter(|(_, before)| *before != Some("c")) {
            assert_eq!(announcer(ip(last), &known[..2]), before);
        }
        assert_eq!(announcer(ip(1), &[]), None);
    }

    #[test]
    fn who_is_on_the_link_answers_and_anybody_when_nobody_is() {
        let away = ("a", Links::of("198.51.100.0/24"));
        let near = ("b", Links::of("192.0.2.0/24"));
        let chosen = |nodes: &[(&'static str, Links)]| (0..60).map(|last| announcer(ip(last), nodes)).collect::<BTreeSet<_>>();
        assert_eq!(chosen(&[away.clone(), near]), BTreeSet::from([Some("b")]));
        assert_eq!(chosen(&[away]), BTreeSet::from([Some("a")]));
    }
}
