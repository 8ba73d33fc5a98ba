//! Which range a node's pods have their addresses in. Pure.

use std::net::Ipv4Addr;

use mizzen_api::ServiceRange;

/// Where the blocks of nodes that have no wish come from: 8192 of /24. Services have theirs behind it.
const POOL: u32 = 0x0a40_0000;
const POOL_BLOCKS: u32 = 1 << 13;
const BLOCK_PREFIX: u8 = 24;

/// `wished` if nobody has any of it, else the first block that nobody has; `None` when all are taken. A node wishes for what
/// nobody else on its machine uses, which cannot be known here.
pub(super) fn allocate(wished: Option<ServiceRange>, taken: &[ServiceRange]) -> Option<ServiceRange> {
    let is_free = |block: &ServiceRange| !taken.iter().any(|other| other.overlaps(*block));
    let blocks = (0..POOL_BLOCKS).filter_map(|i| ServiceRange::new(Ipv4Addr::from(POOL + (i << 8)), BLOCK_PREFIX));
    wished.filter(is_free).or_else(|| blocks.into_iter().find(is_free))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ServiceRange {
        text.parse().expect("a range")
    }

    #[test]
    fn a_wish_is_granted_unless_another_node_has_some_of_it() {
        assert_eq!(allocate(Some(of("10.70.0.0/24")), &[of("10.64.0.0/24")]), Some(of("10.70.0.0/24")));
        assert_eq!(allocate(Some(of("10.70.0.0/22")), &[of("10.70.1.0/24")]), Some(of("10.64.0.0/24")));
        assert_eq!(allocate(None, &[of("10.64.0.0/23"), of("10.64.3.0/24")]), Some(of("10.64.2.0/24")));
        assert_eq!(allocate(None, &[of("10.64.0.0/11")]), None);
    }
}
