//! Which range a node's pods have their addresses in. Pure.

use std::net::Ipv4Addr;

use mizzen_api::ServiceRange;

/// Where the blocks of nodes that have no wish come from: 8192 of /24. Services have theirs behind it.
const POOL: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 64, 0, 0), 11);
const BLOCK_PREFIX: u8 = 24;
/// Of IPv6: what a link has.
const SECOND_PREFIX: u8 = 64;

/// A block of each family that the cluster has, the primary one first: what a node wishes for, if nobody has any of it, else
/// the first that nobody has. `None` when all are taken. A node wishes for what nobody else on its machine uses, which cannot
/// be known here. `second` is where the second ones come from.
pub(super) fn allocate(
    wished: &[ServiceRange],
    second: Option<ServiceRange>,
    taken: &[ServiceRange],
) -> Option<Vec<ServiceRange>> {
    let pool = ServiceRange::new(POOL.0.into(), POOL.1)?;
    let pools = std::iter::once((pool, BLOCK_PREFIX)).chain(second.map(|second| (second, SECOND_PREFIX)));
    pools.map(|(pool, prefix)| block(wished, pool, prefix, taken)).collect()
}

fn block(wished: &[ServiceRange], pool: ServiceRange, prefix: u8, taken: &[ServiceRange]) -> Option<ServiceRange> {
    let is_free = |block: &ServiceRange| !taken.iter().any(|other| other.overlaps(*block));
    let mut own = wished.iter().copied().filter(|wished| wished.is_ipv6() == pool.is_ipv6());
    own.find(is_free).or_else(|| (0..).map_while(|index| pool.part(prefix, index)).find(is_free))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ServiceRange {
        text.parse().expect("a range")
    }

    #[test]
    fn a_wish_is_granted_unless_another_node_has_some_of_it() {
        let allocate = |wished: &[&str], taken: &[&str]| {
            let ranges = |all: &[&str]| all.iter().map(|range| of(range)).collect::<Vec<_>>();
            allocate(&ranges(wished), None, &ranges(taken)).map(|given| given.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(allocate(&["10.70.0.0/24"], &["10.64.0.0/24"]), Some(vec!["10.70.0.0/24".into()]));
        assert_eq!(allocate(&["10.70.0.0/22"], &["10.70.1.0/24"]), Some(vec!["10.64.0.0/24".into()]));
        assert_eq!(allocate(&["fd00::/64"], &["10.64.0.0/23", "10.64.3.0/24"]), Some(vec!["10.64.2.0/24".into()]));
        assert_eq!(allocate(&[], &["10.64.0.0/11"]), None);
    }

    #[test]
    fn where_there_are_two_families_a_node_has_a_block_of_each() {
        let second = Some(of("fd00:1:2::/48"));
        let given = |wished: &[ServiceRange], taken: &[ServiceRange]| allocate(wished, second, taken).expect("has room");
        assert_eq!(given(&[of("10.70.0.0/24")], &[]), [of("10.70.0.0/24"), of("fd00:1:2::/64")]);
        assert_eq!(given(&[], &[of("fd00:1:2::/64")])[1], of("fd00:1:2:1::/64"));
        assert_eq!(given(&[of("10.70.0.0/24"), of("fd00:1:2:9::/64")], &[])[1], of("fd00:1:2:9::/64"));
    }
}
