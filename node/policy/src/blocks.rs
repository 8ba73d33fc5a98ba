//! Ranges of numbers: of addresses, where `ipBlock`s leave some out, and of ports. Pure.

use std::net::IpAddr;

use mizzen_network::{Family, Subnet};

/// First and last.
pub type Range = (u128, u128);

/// All addresses of a family.
pub fn everywhere(family: Family) -> Range {
    (0, u128::MAX >> (128 - u32::from(family.bits())))
}

/// Ordered, and merged where they touch: no two elements of a set may overlap.
pub fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// What is left of a range without others.
fn without(range: Range, others: Vec<Range>) -> Vec<Range> {
    let (mut next, mut left) = (Some(range.0), Vec::new());
    for (first, last) in merged(others) {
        let Some(start) = next else { break };
        if last < start {
            continue;
        }
        if first > range.1 {
            break;
        }
        if first > start {
            left.push((start, first - 1));
        }
        next = last.checked_add(1).filter(|next| *next <= range.1);
    }
    left.extend(next.map(|start| (start, range.1)));
    left
}

/// The addresses of an `ipBlock`; `None` for what is no range, which the API never stores.
pub fn block<'a>(cidr: &str, except: impl Iterator<Item = &'a str>) -> Option<(Family, Vec<Range>)> {
    let (family, range) = range_of(cidr)?;
    let except = except.filter_map(range_of).filter(|(of, _)| *of == family);
    Some((family, without(range, except.map(|(_, range)| range).collect())))
}

/// Bits behind the prefix count for nothing, as in Kubernetes.
fn range_of(cidr: &str) -> Option<(Family, Range)> {
    let (address, prefix) = cidr.split_once('/')?;
    let subnet = Subnet::containing(address.parse().ok()?, prefix.parse().ok()?);
    Some((subnet.family(), (number(subnet.network()), number(subnet.last()))))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// As rules write an address of a family.
pub fn address(family: Family, number: u128) -> String {
    Subnet::containing(if family == Family::V4 { [0; 4].into() } else { [0; 16].into() }, 0).nth(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cidr: &str, except: &[&str]) -> Vec<String> {
        let (family, ranges) = block(cidr, except.iter().copied()).expect("is a range");
        ranges.iter().map(|(first, last)| format!("{}-{}", address(family, *first), address(family, *last))).collect()
    }

    #[test]
    fn a_block_is_its_range_without_its_exceptions() {
        assert_eq!(of("10.0.0.0/8", &[]), ["10.0.0.0-10.255.255.255"]);
        assert_eq!(of("10.0.0.7/30", &[]), ["10.0.0.4-10.0.0.7"], "bits behind the prefix");
        let middle = ["10.0.0.64/26", "10.0.0.128/25"];
        assert_eq!(of("10.0.0.0/24", &middle), ["10.0.0.0-10.0.0.63"]);
        assert_eq!(of("10.0.0.0/24", &["10.0.0.0/26", "10.0.0.192/26"]), ["10.0.0.64-10.0.0.191"]);
        assert_eq!(of("0.0.0.0/0", &["255.255.255.0/24", "10.0.0.0/8"]), ["0.0.0.0-9.255.255.255", "11.0.0.0-255.255.254.255"]);
        assert_eq!(of("10.0.0.0/8", &["10.0.0.0/8"]), [""; 0]);
        let halves = ["::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"];
        assert_eq!(of("::/0", &["fc00::/7", "8000::/2", "c000::/3", "e000::/4", "f000::/5", "f800::/6", "10.0.0.0/8"]), halves);
        assert_eq!(block("nonsense", [].into_iter()), None);
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(merged(vec![(80, 80), (443, 500), (81, 90), (450, 460), (5, 5)]), [(5, 5), (80, 90), (443, 500)]);
        assert_eq!(merged(vec![(7, u32::MAX.into()), (0, 6)]), [everywhere(Family::V4)]);
    }
}
