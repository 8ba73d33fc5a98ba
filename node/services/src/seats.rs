//! Which endpoint has which number: rules pick a number, a map says whose it is. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::endpoints::Backend;

/// Endpoints by their numbers. Of those before, as many as can keep theirs, so that one that comes or goes changes one or two
/// elements and not all that follow.
pub fn seat(before: &[Backend], wanted: &BTreeSet<Backend>) -> Vec<Backend> {
    let kept = |i: usize| before.get(i).filter(|backend| wanted.contains(backend));
    let mut seated: Vec<Option<Backend>> = (0..wanted.len()).map(|i| kept(i).copied()).collect();
    // A set, in case `before` says one twice.
    let mut has = BTreeSet::new();
    for seat in &mut seated {
        *seat = seat.filter(|backend| has.insert(*backend));
    }
    let mut waiting = wanted.iter().filter(|backend| !has.contains(backend));
    seated.into_iter().filter_map(|seat| seat.or_else(|| waiting.next().copied())).collect()
}

/// A number that is an endpoint's own, for clients that stay with it: it follows from the address alone, so that it is the same
/// after the agent was restarted. FNV-1a, 32 bits; nftables has no room for 0 and the highest. `taken` by others.
pub fn identity(backend: Backend, taken: &BTreeSet<u32>) -> u32 {
    let address = match backend.0 {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let bytes = address.into_iter().chain(backend.1.to_be_bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut identity = hash;
    while taken.contains(&identity) || identity == 0 || identity == u32::MAX {
        identity = identity.wrapping_add(1);
    }
    identity
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(last: &[u8]) -> Vec<Backend> {
        last.iter().map(|last| (IpAddr::from([10, 64, 0, *last]), 80)).collect()
    }

    fn seated(before: &[u8], wanted: &[u8]) -> Vec<u8> {
        let seated = seat(&of(before), &of(wanted).into_iter().collect()).into_iter();
        seated
            .filter_map(|(address, _)| if let IpAddr::V4(address) = address { Some(address.octets()[3]) } else { None })
            .collect()
    }

    #[test]
    fn who_stays_keeps_the_number() {
        assert_eq!(seated(&[], &[3, 1, 2]), [1, 2, 3]);
        assert_eq!(seated(&[1, 2, 3], &[1, 2, 3, 4]), [1, 2, 3, 4]);
        assert_eq!(seated(&[1, 2, 3], &[2, 3]), [3, 2], "the last fills the gap");
        assert_eq!(seated(&[1, 2, 3], &[1, 9, 3]), [1, 9, 3]);
        assert_eq!(seated(&[1, 2, 3], &[]), [0; 0]);
        assert_eq!(seated(&[5, 5], &[5, 6]), [5, 6]);
    }

    #[test]
    fn an_identity_is_the_same_each_time_and_nobody_elses() {
        let backend = (IpAddr::from([10, 64, 0, 9]), 80);
        let first = identity(backend, &BTreeSet::new());
        assert_eq!(first, identity(backend, &BTreeSet::new()));
        assert_ne!(first, identity(backend, &BTreeSet::from([first])));
    }
}
