//! Ranges of numbers: of addresses, where `ipBlock`s leave some out, and of ports. Pure.

use std::net::Ipv4Addr;

use mizzen_network::Ipv4Subnet;

/// First and last.
pub type Range = (u32, u32);

/// All IPv4 addresses.
pub const EVERYWHERE: Range = (0, u32::MAX);

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

/// The addresses of an `ipBlock`; none for a range of IPv6, as pods have IPv4 addresses only.
pub fn block<'a>(cidr: &str, except: impl Iterator<Item = &'a str>) -> Vec<Range> {
    let Some(range) = range_of(cidr) else { return Vec::new() };
    without(range, except.filter_map(range_of).collect())
}

/// Bits behind the prefix count for nothing, as in Kubernetes.
fn range_of(cidr: &str) -> Option<Range> {
    let (address, prefix) = cidr.split_once('/')?;
    let (address, prefix): (Ipv4Addr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    let subnet = Ipv4Subnet::containing(address, prefix);
    Some((subnet.network().into(), subnet.broadcast().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(ranges: &[Range]) -> Vec<String> {
        ranges.iter().map(|(first, last)| format!("{}-{}", Ipv4Addr::from(*first), Ipv4Addr::from(*last))).collect()
    }

    fn of(cidr: &str, except: &[&str]) -> Vec<String> {
        said(&block(cidr, except.iter().copied()))
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
        assert_eq!(of("fd00::/8", &[]), [""; 0]);
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(merged(vec![(80, 80), (443, 500), (81, 90), (450, 460), (5, 5)]), [(5, 5), (80, 90), (443, 500)]);
        assert_eq!(merged(vec![(7, u32::MAX), (0, 6)]), [EVERYWHERE]);
    }
}
